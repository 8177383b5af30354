"""Histograms for one thread, for what is counted several times a pod or a request.

prometheus_client's own take a lock and walk all buckets at each value; here a value costs a search and two additions. What
is read is the same.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import override

from prometheus_client import REGISTRY
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


def powers(first: float, factor: float, number: int) -> tuple[float, ...]:
    """Upper bounds of buckets, each so many times the one before (upstream: ExponentialBuckets)."""
    return tuple(first * factor**power for power in range(number))


class Tally:
    """How many values fell into each bucket; the last one has no bound."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Tallies(Collector):
    """One histogram with labels, in the registry from the start."""

    def __init__(
        self,
        name: str,
        said: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._name, self._said, self._labels = name, said, tuple(labels)
        self._bounds = tuple(bounds)
        self._all: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def of(self, *labels: str) -> Tally:
        found = self._all.get(labels)
        if found is None:
            found = self._all[labels] = Tally(self._bounds)
        return found

    def numbers(self) -> Counter[tuple[str, ...]]:
        """How many values there were, by labels."""
        return Counter({labels: sum(tally.counts) for labels, tally in self._all.items()})

    @override
    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._said, labels=self._labels)
        for labels, tally in self._all.items():
            family.add_metric(labels, self._buckets(tally), tally.total)
        yield family

    def _buckets(self, tally: Tally) -> list[tuple[str, float]]:
        """Each counts all values up to its bound."""
        found, below = [], 0
        for bound, count in zip((*self._bounds, float("inf")), tally.counts, strict=True):
            below += count
            found.append((floatToGoString(bound), float(below)))  # type: ignore[no-untyped-call]
        return found
