"""How long the certificates of clients last that requests come with: upstream's metric, which its alerts are made of.

A request adds to one number; the sums are made when somebody asks.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import REGISTRY
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_HOUR, _DAY = 3600, 86400
BUCKETS = (
    0, _HOUR // 2, _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY, 180 * _DAY, 360 * _DAY,
)  # fmt: skip


class Expirations(Collector):
    """Times that are left, by request. ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._uses: dict[float, int] = {}
        self._within = [0] * (len(BUCKETS) + 1)
        self._total = 0.0

    def used(self, until: float) -> None:
        """A request came with a certificate that lasts until then."""
        self._uses[until] = self._uses.get(until, 0) + 1

    def collect(self) -> Iterator[Metric]:
        now, uses, self._uses = self._clock(), self._uses, {}
        for until, count in uses.items():
            self._within[bisect_left(BUCKETS, until - now)] += count
            self._total += (until - now) * count
        bounds = [*(str(float(bound)) for bound in BUCKETS), "+Inf"]
        found = HistogramMetricFamily(
            "apiserver_client_certificate_expiration_seconds",
            "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
        )
        found.add_metric((), list(zip(bounds, accumulate(self._within), strict=True)), self._total)
        yield found


CLIENTS = Expirations()
REGISTRY.register(CLIENTS)
