"""Upstream's metric names for what is stored: how many objects of each resource, and how large etcd's database is.

Objects are counted in the caches that run, when somebody asks; a resource whose objects nobody has read is not told of.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import override

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kybern.machinery.kind import Kind
from kybern.storage.cache import Cache
from kybern.storage.store import Unavailable

_PATIENCE = 1.0


class Stored(Collector):
    """Those of one server. ``caches`` gives the ones that run, ``measure`` the bytes of the database (or Unavailable)."""

    def __init__(self, caches: Callable[[], Iterable[Cache]], measure: Callable[[], Awaitable[int]]) -> None:
        self._caches, self._measure = caches, measure
        self._size: int | None = None

    async def ask(self) -> None:
        """To be called before a scrape: how large the database is, unless etcd does not say so within a second."""
        self._size = None
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                self._size = await self._measure()

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        old = GaugeMetricFamily("apiserver_storage_objects", "Objects that are stored.", labels=("resource",))
        new = GaugeMetricFamily(
            "apiserver_resource_objects", "Objects that are stored.", labels=("group", "resource")
        )
        for kind, count in self._counts().values():
            old.add_metric((kind.group_resource,), count)
            new.add_metric((kind.group, kind.plural), count)
        size = GaugeMetricFamily(
            "apiserver_storage_size_bytes", "Bytes of etcd's database.", labels=("storage_cluster_id",)
        )
        if self._size is not None:
            # There is one etcd: upstream numbers those of --etcd-servers and --etcd-servers-overrides.
            size.add_metric(("etcd-0",), self._size)
        yield from (old, new, size)

    def _counts(self) -> dict[str, tuple[Kind, int]]:
        """By resource: custom kinds can have a cache for each version, which all have the same objects."""
        found: dict[str, tuple[Kind, int]] = {}
        for cache in self._caches():
            if cache.filled.is_set():
                found.setdefault(cache.kind.group_resource, (cache.kind, len(cache)))
        return found
