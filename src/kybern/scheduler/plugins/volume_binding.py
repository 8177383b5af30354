"""A pod goes where its volumes are, or can be made; those that wait for its node are bound before the pod is.

A claim that is not there, that is lost, or that is to be bound before pods use it keeps its pod from every node. A claim
whose class waits for its first consumer gets its volume with the node: see ``scheduler.volumes`` for how.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.storage_v1 import CSIDriver, CSIStorageCapacity, StorageClass
from kybern.machinery.causes import invalid
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import SKIP, Attempt, Cluster, NodeInfo, Plugin, Refusal, Scope
from kybern.scheduler.handle import Handle
from kybern.scheduler.table import Table
from kybern.scheduler.volumes import assuming, everywhere, writing
from kybern.scheduler.volumes.choice import choose
from kybern.scheduler.volumes.claims import any_claim, of_pod, wanted
from kybern.scheduler.volumes.supply import room

NAME = "VolumeBinding"
SECONDS = 600  # until the binder and the drivers must be done


def pre_filter(attempt: Attempt) -> Scope:
    if not attempt.facts.claims:
        return SKIP
    found = wanted(attempt.facts.pod, attempt.table.objects)
    return Scope(reason=found.reason, filter=lambda _facts, table: everywhere.refusals(found, table))


def filter_nodes(facts: PodFacts, table: Table) -> Iterable[Refusal]:
    if not facts.claims:
        return ()
    found = wanted(facts.pod, table.objects)
    if found.reason:
        return (Refusal(np.ones(table.columns, np.bool_), found.reason, about_pod=True),)
    return everywhere.refusals(found, table)


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    found = wanted(pod, cluster.objects)
    return (found.reason,) if found.reason else choose(found, info.node, cluster.objects).reasons


def reserve(attempt: Attempt, node: str) -> str:
    objects, info = attempt.table.objects, attempt.table.node(node)
    found = wanted(attempt.facts.pod, objects)
    if info is None or found.reason:
        return found.reason or f'node "{node}" not found'
    if found.later:
        choice = choose(found, info, objects)
        if choice.reasons:
            return choice.reasons[0]
        attempt.state[NAME] = assuming.assume(choice, node, objects)
    return ""


def unreserve(attempt: Attempt, _node: str) -> None:
    assumed = attempt.state.pop(NAME, None)
    if assumed is not None:
        assuming.revert(assumed, attempt.table)


def prepares(attempt: Attempt, _node: str) -> bool:
    """Volumes that are to be bound may take minutes."""
    return NAME in attempt.state


async def pre_bind(seconds: int, attempt: Attempt, node: str, handle: Handle) -> str:
    assumed = attempt.state.get(NAME)
    return "" if assumed is None else await writing.bind(assumed, attempt, node, handle, seconds)


def other_topologies(facts: PodFacts, what: Happening) -> bool:
    """A new class, or one that has other topologies now: nothing else of a class may change."""
    new = what.old is None or what.old.allowed_topologies != what.new.allowed_topologies
    return new and any_claim(facts, what)


def more_room(facts: PodFacts, what: Happening) -> bool:
    """A new store, or one with more room than before."""
    before, now = None if what.old is None else room(what.old), room(what.new)
    more = what.old is None or (now is not None and (before is None or now > before))
    return more and any_claim(facts, what)


def stops_counting(facts: PodFacts, what: Happening) -> bool:
    """A driver that told its capacity does not any more: what it did not have may be made now."""
    told = bool(what.old is not None and what.old.spec.storage_capacity)
    return told and (what.new is None or not what.new.spec.storage_capacity) and any_claim(facts, what)


def relabelled(facts: PodFacts, what: Happening) -> bool:
    new = what.old is None or what.old.metadata.labels != what.new.metadata.labels
    return new and any_claim(facts, what)


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "VolumeBindingArgs")
    seconds = given.integer("bindTimeoutSeconds", SECONDS)
    if seconds < 0:
        told = "invalid BindTimeoutSeconds, should not be a negative value"
        given.wrong(invalid(given.at("bindTimeoutSeconds"), seconds, told))
    given.check()
    return made(seconds)


def made(seconds: int = SECONDS) -> Plugin:
    return Plugin(
        NAME,
        pre_filter=pre_filter,
        filter=filter_nodes,
        refuse=refuse,
        reserve=reserve,
        unreserve=unreserve,
        prepares=prepares,
        pre_bind=partial(pre_bind, seconds),
        needs=(PersistentVolumeClaim, PersistentVolume, StorageClass, CSIDriver, CSIStorageCapacity),
        wakes=(
            Wake(PersistentVolumeClaim, Action.ADDED | Action.CHANGED, of_pod),
            Wake(PersistentVolume, Action.ADDED | Action.CHANGED, any_claim),
            Wake(StorageClass, Action.ADDED | Action.CHANGED, other_topologies),
            Wake(CSIStorageCapacity, Action.ADDED | Action.CHANGED, more_room),
            Wake(CSIDriver, Action.CHANGED | Action.GONE, stops_counting),
            Wake(Node, Action.ADDED | Action.CHANGED, relabelled),
        ),
        configure=configure,
    )


PLUGIN = made()
