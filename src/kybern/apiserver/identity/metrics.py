"""Upstream's metrics of tokens: how often what is known of one served, what issuers' tokens cost, and their keys."""

import contextlib
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kybern.apiserver.reloads import digest as digested
from kybern.apiserver.reloads import server

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CACHE = "authentication_token_cache"


class Times:
    """A histogram of seconds by labels, added up when somebody asks."""

    def __init__(self, bounds: tuple[float, ...] = _BUCKETS) -> None:
        self._bounds = bounds
        self._within: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        within = self._within.setdefault(labels, [0] * (len(self._bounds) + 1))
        within[bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + seconds

    def add_to(self, family: HistogramMetricFamily) -> HistogramMetricFamily:
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        for labels, within in self._within.items():
            family.add_metric(labels, list(zip(names, accumulate(within), strict=True)), self._sums[labels])
        return family


class Cache(Collector):
    """Of tokens: questions by hit and miss, fetches by how they ended, and those under way."""

    def __init__(self) -> None:
        self._times = Times()
        self._asked: dict[str, int] = {}
        self._fetched: dict[str, int] = {}
        self.blocked = 0
        self.fetching = 0

    def requested(self, status: str, seconds: float) -> None:
        self._asked[status] = self._asked.get(status, 0) + 1
        self._times.observe((status,), seconds)

    def fetched(self, *, good: bool) -> None:
        status = "ok" if good else "error"
        self._fetched[status] = self._fetched.get(status, 0) + 1

    def collect(self) -> Iterator[Metric]:
        yield self._times.add_to(
            HistogramMetricFamily(
                f"{_CACHE}_request_duration_seconds", "Time to say whose a token is.", labels=("status",)
            )
        )
        for name, text, counts in (
            ("request", "Tokens that were asked about.", self._asked),
            ("fetch", "Tokens that had to be found out.", self._fetched),
        ):
            family = CounterMetricFamily(f"{_CACHE}_{name}", text, labels=("status",))
            for status, count in counts.items():
                family.add_metric((status,), count)
            yield family
        active = GaugeMetricFamily(f"{_CACHE}_active_fetch_count", "Under way.", labels=("status",))
        active.add_metric(("blocked",), self.blocked)
        active.add_metric(("in_flight",), self.fetching)
        yield active


CACHE = Cache()
REGISTRY.register(CACHE)

_JWT = "apiserver_authentication_jwt_authenticator"
jwt_seconds = Histogram(
    f"{_JWT}_latency_seconds",
    "Time to say whose an issuer's token is.",
    ("result", "jwt_issuer_hash"),
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_last = Gauge(
    f"{_JWT}_jwks_fetch_last_timestamp_seconds",
    "When an issuer's keys were last fetched, or failed to be.",
    ("result", "jwt_issuer_hash", "apiserver_id_hash"),
)


def digest(text: str) -> str:
    return digested(text.encode())


class KeySets(Collector):
    """Which keys of issuers are in use, as digests of their sets."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def fetched(self, issuer: str, body: bytes) -> None:
        self._digests[issuer] = digested(body)
        _last.labels("success", digest(issuer), server()).set_to_current_time()

    def failed(self, issuer: str) -> None:
        _last.labels("failure", digest(issuer), server()).set_to_current_time()

    def forget(self, issuer: str) -> None:
        """An issuer is not in the configuration any more."""
        self._digests.pop(issuer, None)
        for result in ("success", "failure"):
            with contextlib.suppress(KeyError):
                _last.remove(result, digest(issuer), server())

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            f"{_JWT}_jwks_fetch_last_key_set_info",
            "The keys of an issuer that were fetched last, as their digest.",
            labels=("jwt_issuer_hash", "apiserver_id_hash", "hash"),
        )
        for issuer, found in self._digests.items():
            family.add_metric((digest(issuer), server(), found), 1)
        yield family


KEY_SETS = KeySets()
REGISTRY.register(KEY_SETS)
