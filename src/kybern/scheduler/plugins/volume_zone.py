"""A pod goes to the zone and region that the labels of its volumes name.

Volumes of today have a node affinity for that; labels are the older way. A node without any such label is not refused: a
cluster of one zone need not say so (upstream: plugins/volumezone).
"""

from collections.abc import Iterator, Mapping

import numpy as np

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.storage_v1 import StorageClass
from kybern.loop.claims import class_of
from kybern.loop.volume_marks import LATER
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import SKIP, Attempt, Cluster, NodeInfo, Plugin, Refusal, Scope
from kybern.scheduler.objects import Objects
from kybern.scheduler.plugins.volume_restrictions import named
from kybern.scheduler.table import Table
from kybern.scheduler.volumes.claims import any_claim, of_pod

REASON = "node(s) had no available volume zone"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
OLD_ZONE, OLD_REGION = "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"
# Each label, and the one that a node may have in its place.
LABELS: Mapping[str, str] = {OLD_ZONE: ZONE, OLD_REGION: REGION, ZONE: ZONE, REGION: REGION}
BETWEEN = "__"  # zones of a volume that is in several


def places(volume: PersistentVolume) -> dict[str, frozenset[str]]:
    """The values that a node may have, by label. A label that names no zone between two others says nothing."""
    found = {}
    for key in LABELS:
        parts = [part.strip() for part in volume.metadata.labels.get(key, "").split(BETWEEN)]
        if all(parts):
            found[key] = frozenset(parts)
    return found


def volumes(pod: Pod, objects: Objects) -> Iterator[PersistentVolume | str]:
    """Those behind the claims that a pod names; or why it cannot be told where they are."""
    for name in named(pod):
        claim = objects.get(PersistentVolumeClaim, name, pod.metadata.namespace)
        if claim is None:
            yield f'persistentvolumeclaim "{name}" not found'
        elif claim.spec.volume_name:
            volume = objects.get(PersistentVolume, claim.spec.volume_name)
            yield volume or f'persistentvolume "{claim.spec.volume_name}" not found'
        elif why := _unplaced(class_of(claim), objects):
            yield why


def _unplaced(name: str, objects: Objects) -> str:
    """Why a claim without a volume is no claim whose volume comes later."""
    if not name:
        return "PersistentVolumeClaim had no pv name and storageClass name"
    found = objects.get(StorageClass, name)
    if found is None:
        return f'storageclass.storage.k8s.io "{name}" not found'
    return "" if found.volume_binding_mode == LATER else "PersistentVolume had no name"


def pre_filter(attempt: Attempt) -> Scope | None:
    found = tuple(volumes(attempt.facts.pod, attempt.table.objects))
    if why := next((one for one in found if isinstance(one, str)), ""):
        return Scope(reason=why)
    return None if any(places(one) for one in found if not isinstance(one, str)) else SKIP


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    found = tuple(volumes(pod, cluster.objects))
    if why := next((one for one in found if isinstance(one, str)), ""):
        return (why,)
    labels = info.node.metadata.labels
    if not any(key in labels for key in LABELS):
        return ()
    for volume in found:
        for key, values in {} if isinstance(volume, str) else places(volume).items():
            if labels.get(key, labels.get(LABELS[key])) not in values:
                return (REASON,)
    return ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if not facts.claims:
        return
    found = tuple(volumes(facts.pod, table.objects))
    if why := next((one for one in found if isinstance(one, str)), ""):
        yield Refusal(np.ones(table.columns, np.bool_), why, about_pod=True)
        return
    labelled = np.zeros(table.columns, np.bool_)
    for key in LABELS:
        labelled |= table.labelled(key)
    refused = np.zeros(table.columns, np.bool_)
    for volume in found:
        for key, values in {} if isinstance(volume, str) else places(volume).items():
            instead = table.having(LABELS[key], values) & ~table.labelled(key)
            refused |= ~(table.having(key, values) | instead)
    yield Refusal(labelled & refused, REASON)


def moved(facts: PodFacts, what: Happening) -> bool:
    new = what.old is None or places(what.old) != places(what.new)
    return new and any_claim(facts, what)


def comes_later(facts: PodFacts, what: Happening) -> bool:
    return what.new.volume_binding_mode == LATER and any_claim(facts, what)


def relabelled(facts: PodFacts, what: Happening) -> bool:
    new = what.old is None or what.old.metadata.labels != what.new.metadata.labels
    return new and any_claim(facts, what)


PLUGIN = Plugin(
    "VolumeZone",
    pre_filter=pre_filter,
    filter=filter_nodes,
    refuse=refuse,
    needs=(PersistentVolumeClaim, PersistentVolume, StorageClass),
    wakes=(
        Wake(StorageClass, Action.ADDED, comes_later),
        Wake(Node, Action.ADDED | Action.CHANGED, relabelled),
        Wake(PersistentVolumeClaim, Action.ADDED | Action.CHANGED, of_pod),
        Wake(PersistentVolume, Action.ADDED | Action.CHANGED, moved),
    ),
)
