"""Which plugins run where, for the pods of one scheduler name. Pure.

A plugin takes part in an extension point when it has one of the point's hooks; the order at each point is the profile's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from kybern.machinery.struct import Object
from kybern.scheduler.framework import Plugin

DEFAULT_NAME = "default-scheduler"
EXTENDER = "Extender"  # stands for all of them among the names of plugins that refused a pod

# Upstream's names of the extension points, and the hooks of a Plugin that belong to each.
POINTS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "preEnqueue": ("pre_enqueue",),
    "queueSort": ("sort",),
    "preFilter": ("pre_filter",),
    "filter": ("filter", "refuse"),
    "postFilter": ("post_filter",),
    "preScore": ("pre_score",),
    "score": ("score", "rate"),
    "reserve": ("reserve", "unreserve"),
    "permit": ("permit",),
    "preBind": ("pre_bind", "prepares"),
    "bind": ("bind",),
    "postBind": ("post_bind",),
})  # fmt: skip


def extends(plugin: Plugin, point: str) -> bool:
    return any(getattr(plugin, hook) is not None for hook in POINTS[point])


@dataclass(frozen=True)
class Profile:
    """``at`` are the plugins of each point, ``weights`` those of scores by name.

    ``percentage`` of the nodes is enough for the search to stop, 0: all are looked at (a vector costs the same).
    """

    name: str
    at: Mapping[str, tuple[Plugin, ...]]
    weights: Mapping[str, int]
    percentage: int = 0

    @classmethod
    def of(cls, plugins: Iterable[Plugin], name: str = DEFAULT_NAME) -> "Profile":
        """Every plugin at every point that it extends."""
        listed = tuple(plugins)
        at = {point: tuple(one for one in listed if extends(one, point)) for point in POINTS}
        return cls(name, at, {one.name: one.weight for one in listed})

    @cached_property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Of the plugins of each point."""
        return {point: tuple(one.name for one in listed) for point, listed in self.at.items()}

    @property
    def plugins(self) -> Iterator[Plugin]:
        """Every plugin once."""
        return iter({one.name: one for listed in self.at.values() for one in listed}.values())

    @property
    def needs(self) -> Iterator[type[Object]]:
        return (kind for plugin in self.plugins for kind in plugin.needs)
