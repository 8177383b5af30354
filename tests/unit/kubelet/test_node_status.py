"""What the node is and has becomes its status."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from kybern.api.core_v1 import Node, NodeAddress, NodeCondition, NodeStatus
from kybern.kubelet.cgroups import Room
from kybern.kubelet.convert import Image
from kybern.kubelet.eviction.signals import DEFAULT, limit
from kybern.kubelet.machine import Hardware, Identity, meminfo, os_release
from kybern.kubelet.node_status import (
    Reserved,
    Seen,
    allocatable,
    capacity,
    changed_events,
    heartbeat_only,
    labels,
    status,
    together,
)
from kybern.machinery.quantity import parse
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import NOW, ago

GIB = 1024**3
HARDWARE = Hardware(cpus=4, memory=8 * GIB, storage=100 * GIB)
IDENTITY = Identity("m", "s", "b", "6.1", "Debian", "amd64")


def seen(**more: Any) -> Seen:
    given: dict[str, Any] = {
        "now": NOW, "hardware": HARDWARE, "identity": IDENTITY, "addresses": ("10.0.0.1",), "hostname": "n1",
        "runtime": "containerd://1.7",
    }  # fmt: skip
    return Seen(**(given | more))


def conditions(found: NodeStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in found.conditions}


def test_capacity_is_all_there_is() -> None:
    assert capacity(HARDWARE, 110) == {
        "cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"
    }  # fmt: skip


def test_pods_may_have_what_is_not_kept_back() -> None:
    reserved = Reserved(({"cpu": "100m", "memory": "1Gi"}, {"cpu": "400m"}), DEFAULT)

    found = allocatable(HARDWARE, reserved)

    assert found["cpu"] == "3500m"
    assert found["memory"] == f"{7 * 1024 - 100}Mi"
    assert found["ephemeral-storage"] == str(90 * GIB)


def test_a_healthy_node_is_ready() -> None:
    found: Any = status(seen(), NodeStatus())

    assert conditions(found) == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID"),
        "Ready": ("True", "KubeletReady"),
    }
    assert [(a.type, a.address) for a in found.addresses] == [("InternalIP", "10.0.0.1"), ("Hostname", "n1")]
    assert found.daemon_endpoints.kubelet_endpoint.port == 10250
    assert found.node_info.container_runtime_version == "containerd://1.7"


def test_a_node_says_what_it_is_short_of() -> None:
    found = status(
        seen(pressures=("DiskPressure", "MemoryPressure"), problems=("no network",)),
        NodeStatus(),
    )

    assert conditions(found)["MemoryPressure"] == ("True", "KubeletHasInsufficientMemory")
    assert conditions(found)["DiskPressure"] == ("True", "KubeletHasDiskPressure")
    assert conditions(found)["Ready"] == ("False", "KubeletNotReady")
    assert found.conditions[-1].message == "no network"


@pytest.mark.parametrize("memory", [2 << 30, (2 << 30) + 4096, 16_331_648 << 10, 1000 << 20])
def test_what_comes_back_from_the_api_is_no_change(memory: int) -> None:
    hardware = dataclasses.replace(
        HARDWARE, memory=memory, huge_pages={"hugepages-2Mi": 0, "hugepages-1Gi": 4 << 30}
    )
    told = status(seen(hardware=hardware), NodeStatus())

    kept = replace(told, capacity=canonical(told.capacity), allocatable=canonical(told.allocatable))

    assert heartbeat_only(kept, status(seen(hardware=hardware), kept))


def canonical(amounts: Mapping[str, str]) -> dict[str, str]:
    return {name: str(parse(text)) for name, text in amounts.items()}


def test_a_heartbeat_alone_is_no_change() -> None:
    first = status(seen(now=ago(60)), NodeStatus())

    assert heartbeat_only(first, status(seen(), first))
    assert not heartbeat_only(first, status(seen(problems=("x",)), first))
    assert status(seen(), first).conditions[-1].last_transition_time == ago(60)


def reasons(old: Node | None, new: NodeStatus) -> list[str]:
    return [reason for _type, reason, _message in changed_events("n1", old, new)]


def test_changes_become_events() -> None:
    first = status(seen(problems=("x",)), NodeStatus())
    node = Node(status=first)

    assert list(changed_events("n1", node, status(seen(), first))) == [
        ("Normal", "NodeReady", "Node n1 status is now: NodeReady")
    ]
    assert reasons(node, first) == []


def test_a_new_node_is_told_with_all_that_it_is() -> None:
    assert reasons(None, status(seen(), NodeStatus())) == [
        "NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"
    ]  # fmt: skip


def test_conditions_of_others_are_no_events() -> None:
    others = NodeStatus(conditions=(NodeCondition(type="NetworkUnavailable", status="False", reason="Fine"),))
    found = status(seen(), others)

    assert reasons(Node(status=replace(found, conditions=found.conditions[:4])), found) == []


def test_a_machine_that_booted_again_is_told() -> None:
    first = status(seen(), NodeStatus())
    again = status(seen(identity=dataclasses.replace(IDENTITY, boot_id="later")), first)

    assert list(changed_events("n1", Node(status=first), again)) == [
        ("Warning", "Rebooted", "Node n1 has been rebooted, boot id: later")
    ]


def test_large_images_are_named_first() -> None:
    images = (
        Image("a", ("small:1",), (), 1, pinned=False),
        Image("b", ("big:1",), ("big@sha256:1",), 9, pinned=False),
    )

    found = status(seen(images=images), NodeStatus()).images

    assert [image.names for image in found] == [("big@sha256:1", "big:1"), ("small:1",)]


def test_nodes_have_upstreams_labels() -> None:
    found = labels("n1", "amd64", {"x": "1"})

    assert found["kubernetes.io/hostname"] == "n1"
    assert found["beta.kubernetes.io/arch"] == "amd64"
    assert found["x"] == "1"


def test_a_threshold_is_an_amount_or_a_part() -> None:
    assert limit("100Mi", GIB) == 100 * 1024**2
    assert limit("10%", GIB) == GIB // 10


def test_pseudo_files_are_read() -> None:
    assert meminfo("MemTotal:  16 kB\nHugePages_Total: 3\n") == {"MemTotal": 16384, "HugePages_Total": 3}
    assert os_release('PRETTY_NAME="Debian 13"\nID=debian\n')["PRETTY_NAME"] == "Debian 13"


def test_foreign_conditions_of_a_node_stay() -> None:
    from kybern.api.core_v1 import NodeCondition

    other = NodeCondition(type="NetworkUnavailable", status="False")

    assert other in status(seen(), replace(NodeStatus(), conditions=(other,))).conditions


def test_extended_resources_that_somebody_wrote_stay_and_are_for_pods() -> None:
    written = {"example.com/fakecpu": "1000", "example.com/device": "7", "stale": "1"}
    before = replace(NodeStatus(), capacity=written, allocatable={"example.com/gone": "1"})

    found = status(seen(devices={"example.com/device": (4, 3)}), before)

    extended = {name: amount for name, amount in found.capacity.items() if "/" in name}
    assert extended == {"example.com/fakecpu": "1000", "example.com/device": "4"}
    extended = {name: amount for name, amount in found.allocatable.items() if "/" in name}
    assert extended == {"example.com/fakecpu": "1000", "example.com/device": "3"}
    assert "stale" not in found.capacity


def test_pods_together_may_use_what_is_not_reserved() -> None:
    reserved = Reserved(({"cpu": "100m", "memory": "1Gi"}, {"cpu": "400m", "pid": "1000"}), DEFAULT)

    found = together(HARDWARE, reserved, 32768)

    assert found == Room(HARDWARE.cpus * 1000 - 500, HARDWARE.memory - GIB, 31768)


def test_huge_pages_are_no_ordinary_memory() -> None:
    hardware = Hardware(cpus=1, memory=4 * GIB, storage=GIB, huge_pages={"hugepages-2Mi": GIB})

    assert allocatable(hardware, Reserved(thresholds={}))["memory"] == "3Gi"


def test_a_node_declares_what_its_kubelet_can_do() -> None:
    assert status(seen(features=("A", "B")), NodeStatus(declared_features=("Old",))).declared_features == (
        "A",
        "B",
    )


def test_addresses_of_a_cloud_stay() -> None:
    theirs = (
        NodeAddress(type="InternalIP", address="10.0.0.1"),
        NodeAddress(type="ExternalIP", address="192.0.2.1"),
    )
    before = NodeStatus(addresses=theirs)

    assert status(seen(in_cloud=True), before).addresses == theirs
    assert [one.address for one in status(seen(), before).addresses] == ["10.0.0.1", "n1"]
    assert [one.address for one in status(seen(in_cloud=True), NodeStatus()).addresses] == ["10.0.0.1", "n1"]
