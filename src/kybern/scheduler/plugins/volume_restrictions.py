"""Two pods do not get a volume that only one of them may have.

A claim of the access mode ReadWriteOncePod is one pod's, wherever the other would run; some kinds of disks that pods name
directly are one pod's of a node unless all of them only read (upstream: plugins/volumerestrictions). The one that has it
leaving helps in both cases.
"""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, PersistentVolumeClaim, Pod, Volume
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt, Cluster, NodeInfo, Plugin, Refusal, Scope
from kybern.scheduler.objects import Objects
from kybern.scheduler.table import Table
from kybern.scheduler.volumes.claims import of_pod

NO_DISK = "node(s) had no available disk"
IN_USE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
ALONE = "ReadWriteOncePod"


def named(pod: Pod) -> Iterator[str]:
    """The claims that a pod names itself; those that are made for it are nobody else's."""
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield volume.persistent_volume_claim.claim_name


def exclusive(pod: Pod, objects: Objects) -> frozenset[str]:
    """The claims of a pod that no other may use, as namespace/name."""
    space = pod.metadata.namespace
    found = ((name, objects.get(PersistentVolumeClaim, name, space)) for name in named(pod))
    return frozenset(f"{space}/{name}" for name, claim in found if claim and ALONE in claim.spec.access_modes)


def pre_filter(attempt: Attempt) -> Scope | None:
    pod, objects = attempt.facts.pod, attempt.table.objects
    for name in named(pod):
        if objects.get(PersistentVolumeClaim, name, pod.metadata.namespace) is None:
            return Scope(reason=f'persistentvolumeclaim "{name}" not found')
    return None


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    if any(clash(pod, other) for other in info.pods):
        return (NO_DISK,)
    alone = exclusive(pod, cluster.objects)
    if alone and any(
        alone & frozenset(PodFacts.of(other).claims)
        for each in cluster.nodes
        for other in each.pods
        if other.metadata.namespace == pod.metadata.namespace
    ):
        return (IN_USE,)
    return ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    busy = np.zeros(table.columns, np.bool_)
    if any(has_disk(volume) for volume in facts.pod.spec.volumes):
        for node, other in table.placed():
            if node in table.index and clash(facts.pod, other):
                busy[table.index[node]] = True
        yield Refusal(busy, NO_DISK, helped=True)
    if facts.claims and any(table.claims.get(key) for key in exclusive(facts.pod, table.objects)):
        yield Refusal(~busy, IN_USE, helped=True)


def has_disk(volume: Volume) -> bool:
    return any((volume.gce_persistent_disk, volume.aws_elastic_block_store, volume.rbd, volume.iscsi))


def clash(pod: Pod, other: Pod) -> bool:
    """Whether two pods name the same disk, and not only to read."""
    return any(_same(one, another) for one in pod.spec.volumes for another in other.spec.volumes)


def _same(one: Volume, other: Volume) -> bool:
    gce, other_gce = one.gce_persistent_disk, other.gce_persistent_disk
    if gce and other_gce and gce.pd_name == other_gce.pd_name:
        return not (gce.read_only and other_gce.read_only)
    aws, other_aws = one.aws_elastic_block_store, other.aws_elastic_block_store
    if aws and other_aws:
        return aws.volume_id == other_aws.volume_id
    iscsi, other_iscsi = one.iscsi, other.iscsi
    if iscsi and other_iscsi and iscsi.iqn == other_iscsi.iqn:
        return not (iscsi.read_only and other_iscsi.read_only)
    rbd, other_rbd = one.rbd, other.rbd
    if rbd and other_rbd and (rbd.pool, rbd.image) == (other_rbd.pool, other_rbd.image):
        shared = set(rbd.monitors) & set(other_rbd.monitors)
        return bool(shared) and not (rbd.read_only and other_rbd.read_only)
    return False


def freed(facts: PodFacts, what: Happening) -> bool:
    """A pod that used the same claim or disk has left."""
    return clash(facts.pod, what.old) or bool(set(facts.claims) & set(PodFacts.of(what.old).claims))


PLUGIN = Plugin(
    "VolumeRestrictions",
    pre_filter=pre_filter,
    filter=filter_nodes,
    refuse=refuse,
    needs=(PersistentVolumeClaim,),
    wakes=(
        Wake(Pod, Action.GONE, freed),
        Wake(Node, Action.ADDED),
        Wake(PersistentVolumeClaim, Action.ADDED, of_pod),
    ),
)
