"""What is counted, under CoreDNS's names where people's dashboards ask for them.

The path of a kept answer costs a few microseconds, of which a client library's counter would take half: questions are
counted in a dictionary, which is turned into metrics when somebody asks for them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    255: "ANY",
}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

SECONDS = tuple(0.00025 * 2**power for power in range(16))  # CoreDNS's
PROGRAMMED = Histogram(
    "coredns_kubernetes_dns_programming_duration_seconds",
    "Time from a change of a pod behind a headless service to its names",
    ["service_kind"],
    buckets=tuple(0.001 * 2**power for power in range(20)),
)
FORWARD_SECONDS = Histogram(
    "coredns_proxy_request_duration_seconds",
    "Time of a question to another name server",
    ["proxy_name", "to", "rcode"],
)
NAMES = Gauge("kybern_dns_names", "Names of the cluster that have records")
ENTRIES = Gauge("coredns_cache_entries", "Answers of other name servers that are kept", ["server", "zones"])
IS_COMPLETE = Gauge("kybern_dns_complete", "1 once all names of the cluster are known")


class Counts(Collector):
    """``answered`` by protocol, type and code; ``cached`` by whether a forwarded answer was still there.

    ``stale`` are answers that were given although their time was over. ``lasted`` counts answers by the first of SECONDS
    that they did not last longer than.
    """

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, int, int]] = Counter()
        self.cached: Counter[bool] = Counter()
        self.stale = 0
        self.lasted = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        """One question was answered in so much time."""
        self.lasted[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds

    def collect(self) -> Iterator[Metric]:
        asked = CounterMetricFamily(
            "coredns_dns_requests_total", "Questions", labels=["server", "zone", "proto", "type"]
        )
        told = CounterMetricFamily(
            "coredns_dns_responses_total", "Answers", labels=["server", "zone", "rcode"]
        )
        kinds: Counter[tuple[str, str]] = Counter()
        codes: Counter[str] = Counter()
        for (protocol, kind, code), number in self.answered.items():
            kinds[protocol, TYPES.get(kind, "other")] += number
            codes[RCODES.get(code, "other")] += number
        for (protocol, name), number in kinds.items():
            asked.add_metric(["dns://:53", ".", protocol, name], number)
        for name, number in codes.items():
            told.add_metric(["dns://:53", ".", name], number)
        yield from (asked, told, self._durations())
        for hit, name in ((True, "coredns_cache_hits_total"), (False, "coredns_cache_misses_total")):
            family = CounterMetricFamily(
                name, "Forwarded names found in the cache, or not", labels=["server", "zones"]
            )
            family.add_metric(["dns://:53", "."], self.cached[hit])
            yield family

        stale = CounterMetricFamily(
            "coredns_cache_served_stale_total",
            "Old answers, given while no server answered",
            labels=["server", "zones"],
        )
        stale.add_metric(["dns://:53", "."], self.stale)
        yield stale

    def _durations(self) -> Metric:
        sums = accumulate(self.lasted)
        buckets = [(str(limit), next(sums)) for limit in SECONDS]
        found = HistogramMetricFamily(
            "coredns_dns_request_duration_seconds", "Time of an answer", labels=["server", "zone"]
        )
        found.add_metric(["dns://:53", "."], [*buckets, ("+Inf", next(sums))], self.seconds)
        return found

    def register(self) -> None:
        """Show in /metrics."""
        REGISTRY.register(self)
