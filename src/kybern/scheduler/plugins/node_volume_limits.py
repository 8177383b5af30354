"""A node takes no more volumes of a driver than its CSINode says.

Counted are the volumes behind the claims of its pods, each once, and those that are still attached though no pod uses them
any more. A claim without a volume counts for the driver that will make one (upstream: plugins/nodevolumelimits).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.storage_v1 import CSINode, StorageClass, VolumeAttachment
from kybern.loop.claims import class_of
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.objects import Objects
from kybern.scheduler.table import Table
from kybern.scheduler.volumes.claims import any_claim, of_pod

REASON = "node(s) exceed max volume count"


@dataclass(frozen=True, slots=True)
class Attachable:
    """A volume of a driver. ``handle`` is the driver's, or stands for one that is not made yet."""

    driver: str
    handle: str


def limits(node: CSINode | None) -> dict[str, int]:
    """How many volumes a node may have, by driver; those that say nothing are not here."""
    drivers = node.spec.drivers if node else ()
    return {
        one.name: one.allocatable.count
        for one in drivers
        if one.allocatable and one.allocatable.count is not None
    }


def behind(keys: Iterable[str], objects: Objects) -> frozenset[Attachable]:
    """The volumes behind claims, given as namespace/name."""
    return frozenset(found for key in keys if (found := _behind(key, objects)))


def _behind(key: str, objects: Objects) -> Attachable | None:
    space, _, name = key.partition("/")
    claim = objects.get(PersistentVolumeClaim, name, space)
    if claim is None:
        return None
    volume = objects.get(PersistentVolume, claim.spec.volume_name) if claim.spec.volume_name else None
    if volume is not None:
        csi = volume.spec.csi
        return Attachable(csi.driver, csi.volume_handle) if csi else None
    found = objects.get(StorageClass, class_of(claim)) if class_of(claim) else None
    # No driver's handle has a line break, so this is nobody else's.
    return Attachable(found.provisioner, f"\n{key}") if found and found.provisioner else None


def attached(objects: Objects) -> Iterator[tuple[str, Attachable]]:
    """What is attached to which node, by the API's word."""
    for one in objects.all(VolumeAttachment):
        name = one.spec.source.persistent_volume_name
        volume = objects.get(PersistentVolume, name) if name else None
        if volume is not None and volume.spec.csi:
            yield one.spec.node_name, Attachable(volume.spec.csi.driver, volume.spec.csi.volume_handle)


def too_many(new: Iterable[Attachable], there: frozenset[Attachable], most: dict[str, int]) -> bool:
    more = frozenset(new) - there
    for driver in {one.driver for one in more} & most.keys():
        count = sum(one.driver == driver for one in (*more, *there))
        if count > most[driver]:
            return True
    return False


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    objects, name = cluster.objects, info.node.metadata.name
    most = limits(objects.get(CSINode, name))
    new = behind(PodFacts.of(pod).claims, objects)
    if not most or not new:
        return ()
    there = behind((key for one in info.pods for key in PodFacts.of(one).claims), objects)
    kept = frozenset(found for where, found in attached(objects) if where == name)
    return (REASON,) if too_many(new, there | kept, most) else ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    """Only nodes that have a limit for one of the pod's drivers are looked at."""
    new = behind(facts.claims, table.objects)
    drivers = {one.driver for one in new}
    if not drivers:
        return
    most = {
        column: found
        for node in table.objects.all(CSINode)
        if (column := table.index.get(node.metadata.name)) is not None
        and drivers & (found := limits(node)).keys()
    }
    if not most:
        return
    there = _there(drivers, most, table)
    refused = np.zeros(table.columns, np.bool_)
    for column, found in most.items():
        refused[column] = too_many(new, frozenset(there[column]), found)
    yield Refusal(refused, REASON, helped=True)


def _there(drivers: set[str], columns: Iterable[int], table: Table) -> dict[int, set[Attachable]]:
    """The volumes of some drivers that are on nodes, by column."""
    there: dict[int, set[Attachable]] = {column: set() for column in columns}
    for key, used in table.claims.items():
        found = _behind(key, table.objects)
        if found is not None and found.driver in drivers:
            for column in used:
                if column in there:
                    there[column].add(found)
    for name, found in attached(table.objects):
        if table.index.get(name) in there:
            there[table.index[name]].add(found)
    return there


def raised(facts: PodFacts, what: Happening) -> bool:
    """A node that says more than it said before, or that says nothing of a driver any more."""
    before, now = limits(what.old), limits(what.new)
    more = what.old is None or any(now.get(name, most + 1) > most for name, most in before.items())
    return more and any_claim(facts, what)


def left(facts: PodFacts, what: Happening) -> bool:
    return any_claim(facts, what) and bool(PodFacts.of(what.old).claims)


PLUGIN = Plugin(
    "NodeVolumeLimits",
    filter=filter_nodes,
    refuse=refuse,
    needs=(PersistentVolumeClaim, PersistentVolume, StorageClass, CSINode, VolumeAttachment),
    wakes=(
        Wake(CSINode, Action.ADDED | Action.CHANGED, raised),
        Wake(Pod, Action.GONE, left),
        Wake(PersistentVolumeClaim, Action.ADDED, of_pod),
        Wake(VolumeAttachment, Action.GONE, any_claim),
    ),
)
