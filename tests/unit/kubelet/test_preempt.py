"""Whom a critical pod pushes off the node."""

from kybern.api.core_v1 import Node, NodeStatus, Pod, PodStatus, ResourceRequirements
from kybern.api.meta_v1 import ObjectMeta
from kybern.kubelet.admit import Room
from kybern.kubelet.preempt import victims
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

NODE = Node(
    metadata=ObjectMeta(name="n1"), status=NodeStatus(allocatable={"cpu": "1", "memory": "1Gi", "pods": "5"})
)
CRITICAL = 2_000_000_000


def asking(uid: str, cpu: str, priority: int = 0, kind: str = "Burstable") -> Pod:
    found = pod(container(resources=ResourceRequirements(requests={"cpu": cpu})), priority=priority)
    return replace(
        found, metadata=replace(found.metadata, uid=uid, name=uid), status=PodStatus(qos_class=kind)
    )


def pushed(wanted: Pod, *others: Pod) -> list[str]:
    return [one.metadata.uid for one in victims(wanted, Room(NODE, others))]


def test_nobody_goes_when_there_is_room() -> None:
    assert pushed(asking("new", "500m", CRITICAL), asking("a", "500m")) == []


def test_ordinary_pods_push_nobody() -> None:
    assert pushed(asking("new", "600m", 1000), asking("a", "500m")) == []


def test_the_lowest_class_and_the_least_important_go_first() -> None:
    others = (
        asking("dear", "400m", 10),
        asking("sure", "300m", kind="Guaranteed"),
        asking("cheap", "300m", 1),
    )

    assert pushed(asking("new", "300m", CRITICAL), *others) == ["cheap"]


def test_no_more_go_than_must() -> None:
    others = (asking("small", "100m", 0), asking("large", "800m", 1))

    assert pushed(asking("new", "900m", CRITICAL), *others) == ["large"]


def test_critical_pods_yield_only_to_those_above_them() -> None:
    other = asking("system", "800m", CRITICAL)

    assert pushed(asking("new", "300m", CRITICAL), other) == []
    assert pushed(asking("new", "300m", CRITICAL + 1000), other) == ["system"]


def test_nobody_goes_in_vain() -> None:
    assert pushed(asking("new", "2", CRITICAL), asking("a", "500m")) == []
