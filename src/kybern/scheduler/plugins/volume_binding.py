"""A pod goes where its volumes can be: to nodes that the volumes behind its claims allow.

A claim that is not there, that is lost, or that is to be bound before pods use it keeps its pod from every node; what is
said then is about the pod and counts no nodes, as upstream has it (plugins/volumebinding). A claim whose class waits for
its first consumer keeps nobody off: volumes are not chosen here yet.
"""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.node_selection import matches
from kybern.api.storage_v1 import StorageClass
from kybern.loop.claims import claim_name, class_of
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.objects import Objects
from kybern.scheduler.selection import by_term
from kybern.scheduler.table import Mask, Table

CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
LATER = "WaitForFirstConsumer"


def claims(pod: Pod) -> tuple[str, ...]:
    return tuple(name for volume in pod.spec.volumes if (name := claim_name(pod, volume)))


def missing(pod: Pod, objects: Objects) -> str:
    """Why no node can take the pod at this moment, whatever the node; "" when that is not so."""
    for name in claims(pod):
        claim = objects.get(PersistentVolumeClaim, name, pod.metadata.namespace)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.metadata.deletion_timestamp:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if claim.status.phase == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
        if not claim.spec.volume_name:
            found = objects.get(StorageClass, class_of(claim))
            if found is None or found.volume_binding_mode != LATER:
                return UNBOUND
    return ""


def volumes(pod: Pod, objects: Objects) -> Iterator[PersistentVolume | None]:
    """Those behind its bound claims; None for one that is not there."""
    for name in claims(pod):
        claim = objects.get(PersistentVolumeClaim, name, pod.metadata.namespace)
        if claim is not None and claim.spec.volume_name:
            yield objects.get(PersistentVolume, claim.spec.volume_name)


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    if why := missing(pod, cluster.objects):
        return (why,)
    for volume in volumes(pod, cluster.objects):
        if volume is None:
            return (NO_VOLUME,)
        if not _allows(volume, info.node):
            return (CONFLICT,)
    return ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if not claims(facts.pod):
        return
    if why := missing(facts.pod, table.objects):
        yield Refusal(np.ones(table.columns, np.bool_), why, about_pod=True)
        return
    left = np.ones(table.columns, np.bool_)
    for volume in volumes(facts.pod, table.objects):
        allowed = np.zeros(table.columns, np.bool_) if volume is None else _allowed(volume, table)
        yield Refusal(left & ~allowed, NO_VOLUME if volume is None else CONFLICT)
        left &= allowed


def _allows(volume: PersistentVolume, node: Node) -> bool:
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    return required is None or any(matches(term, node) for term in required.node_selector_terms)


def _allowed(volume: PersistentVolume, table: Table) -> Mask:
    """The same over all nodes at once."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    if required is None:
        return np.ones(table.columns, np.bool_)
    found = np.zeros(table.columns, np.bool_)
    for term in required.node_selector_terms:
        found |= by_term(term, table)
    return found


def of_pod(facts: PodFacts, what: Happening) -> bool:
    """A claim of the pod, and no other, has changed."""
    meta = what.object.metadata
    return meta.namespace == facts.pod.metadata.namespace and meta.name in claims(facts.pod)


PLUGIN = Plugin(
    "VolumeBinding",
    filter=filter_nodes,
    refuse=refuse,
    needs=(PersistentVolumeClaim, PersistentVolume, StorageClass),
    wakes=(
        Wake(PersistentVolumeClaim, Action.ADDED | Action.CHANGED, of_pod),
        Wake(PersistentVolume, Action.ADDED | Action.CHANGED),
        Wake(StorageClass, Action.ADDED | Action.CHANGED),
        Wake(Node, Action.ADDED | Action.CHANGED),
    ),
)
