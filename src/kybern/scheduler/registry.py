"""Every plugin there is: those of this package, and those that installed packages bring as entry points.

An entry point of the group GROUP names a Plugin (``package.module:PLUGIN``). It runs only where a profile enables it: what
is installed changes nothing by itself.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from kybern.daemon.run import Fatal
from kybern.scheduler.framework import Plugin
from kybern.scheduler.plugins import PLUGINS

GROUP = "kybern.scheduler.plugins"


def installed() -> dict[str, Plugin]:
    """All plugins by name, those of this package in their order. Raises Fatal for an entry point that is no plugin."""
    return known(entry_points(group=GROUP))


def known(points: Iterable[EntryPoint]) -> dict[str, Plugin]:
    found = {plugin.name: plugin for plugin in PLUGINS}
    for point in sorted(points, key=lambda one: (one.name, one.value)):
        plugin = _loaded(point)
        if plugin.name in found:
            raise Fatal(
                f'cannot use the scheduler plugin "{plugin.name}" of entry point {point.name} = {point.value}: '
                "another plugin bears that name; rename one, or uninstall its package"
            )
        found[plugin.name] = plugin
    return found


def _loaded(point: EntryPoint) -> Plugin:
    where = f"entry point {point.name} = {point.value} of {GROUP}"
    try:
        plugin = point.load()
    except (ImportError, AttributeError) as problem:
        raise Fatal(f"cannot load {where}: {problem}; reinstall or uninstall its package") from problem
    if not isinstance(plugin, Plugin):
        raise Fatal(
            f"cannot use {where}: it is a {type(plugin).__name__}, and must be a Plugin of kybern.scheduler.framework"
        )
    return plugin


# Where upstream's own plugins take part. A file may name them there, also where ours have no hook: one pass over all nodes
# needs no preparation (preFilter, preScore), and what is not here yet has none at all.
EXTENDS: Mapping[str, tuple[str, ...]] = {
    "SchedulingGates": ("preEnqueue",),
    "PrioritySort": ("queueSort",),
    "NodeUnschedulable": ("filter",),
    "NodeName": ("filter",),
    "NodeDeclaredFeatures": ("preFilter", "filter"),
    "TaintToleration": ("filter", "preScore", "score"),
    "NodeAffinity": ("preFilter", "filter", "preScore", "score"),
    "NodePorts": ("preFilter", "filter"),
    "NodeResourcesFit": ("preFilter", "filter", "preScore", "score"),
    "VolumeRestrictions": ("preFilter", "filter"),
    "NodeVolumeLimits": ("preFilter", "filter"),
    "VolumeBinding": ("preFilter", "filter", "preScore", "score", "reserve", "preBind"),
    "VolumeZone": ("preFilter", "filter"),
    "PodTopologySpread": ("preFilter", "filter", "preScore", "score"),
    "InterPodAffinity": ("preFilter", "filter", "preScore", "score"),
    "DynamicResources": ("preEnqueue", "preFilter", "filter", "postFilter", "score", "reserve", "preBind"),
    "DefaultPreemption": ("preEnqueue", "postFilter"),
    "NodeResourcesBalancedAllocation": ("preScore", "score"),
    "ImageLocality": ("score",),
    "DefaultBinder": ("bind",),
}
# Removed from upstream; a file that names one is refused in upstream's words.
REMOVED = ("AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits")
