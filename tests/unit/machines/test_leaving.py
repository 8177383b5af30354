"""What is on a node that leaves: pods that go elsewhere, and volumes that cannot."""

import pytest

from kybern.api.core_v1 import (
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PersistentVolume,
    PersistentVolumeSpec,
    Pod,
    PodStatus,
    VolumeNodeAffinity,
)
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.machines.leaving import bound_here, to_evict, to_move


def owned(kind: str, *, controller: bool = True) -> ObjectMeta:
    return ObjectMeta(
        name="p", owner_references=(OwnerReference(kind=kind, name="o", controller=controller),)
    )


@pytest.mark.parametrize(
    ("pod", "goes"),
    [
        (Pod(metadata=ObjectMeta(name="p")), True),
        (Pod(metadata=owned("ReplicaSet")), True),
        (Pod(metadata=owned("DaemonSet")), False),
        (Pod(metadata=owned("DaemonSet", controller=False)), True),
        (Pod(metadata=ObjectMeta(name="p", annotations={"kubernetes.io/config.mirror": "x"})), False),
        (Pod(metadata=ObjectMeta(name="p"), status=PodStatus(phase="Succeeded")), False),
        (Pod(metadata=ObjectMeta(name="p"), status=PodStatus(phase="Failed")), False),
        (Pod(metadata=ObjectMeta(name="p"), status=PodStatus(phase="Running")), True),
    ],
)
def test_which_pods_are_evicted(pod: Pod, goes: bool) -> None:
    assert bool(to_evict([pod])) is goes


@pytest.mark.parametrize(
    ("pod", "goes"),
    [
        (Pod(metadata=owned("ReplicaSet")), True),
        (Pod(metadata=owned("Job")), True),
        (Pod(metadata=owned("ReplicaSet", controller=False)), False),
        (Pod(metadata=ObjectMeta(name="p")), False),
        (Pod(metadata=owned("DaemonSet")), False),
        (Pod(metadata=owned("ReplicaSet"), status=PodStatus(phase="Failed")), False),
    ],
)
def test_which_pods_come_again_elsewhere(pod: Pod, goes: bool) -> None:
    assert bool(to_move([pod])) is goes


def node(name: str, zone: str) -> Node:
    return Node(metadata=ObjectMeta(name=name, labels={"host": name, "zone": zone}))


def volume(key: str = "", *values: str) -> PersistentVolume:
    term = NodeSelectorTerm(
        match_expressions=(NodeSelectorRequirement(key=key, operator="In", values=values),)
    )
    affinity = VolumeNodeAffinity(required=NodeSelector(node_selector_terms=(term,))) if key else None
    return PersistentVolume(metadata=ObjectMeta(name="v"), spec=PersistentVolumeSpec(node_affinity=affinity))


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        (volume("host", "a"), True),
        (volume("host", "b"), False),
        (volume("host", "a", "b"), False),
        (volume("zone", "west"), False),
        (volume("zone", "north"), True),
        (volume(), False),
    ],
)
def test_which_volumes_are_lost_with_a_node(found: PersistentVolume, lost: bool) -> None:
    leaving = Node(
        metadata=ObjectMeta(
            name="a", labels={"host": "a", "zone": "north" if "north" in str(found) else "west"}
        )
    )
    others = [node("b", "west"), node("c", "west")]

    assert bool(bound_here([found], leaving, others)) is lost
