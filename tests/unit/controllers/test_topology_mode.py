"""Endpoints shared out among zones by their CPUs: service.kubernetes.io/topology-mode."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import Node, NodeCondition, NodeStatus, Pod, Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import EndpointHints, EndpointSlice, ForZone
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import endpointslice
from kybern.loop.controller import Create, Emit, Key, Patch, WhenChanged
from kybern.loop.settings import Settings
from kybern.loop.zone_hints import (
    MODE,
    NO_INFORMATION,
    NO_ZONE,
    OLD_MODE,
    OVERLOAD,
    TOO_UNEVEN,
    Refused,
    assign,
    cpu_by_zone,
    is_asked,
)
from kybern.machinery.struct import replace
from tests.unit.controllers.making import LABELS, only, pod, view

CONTROLLER = endpointslice.controller(Settings())
EVEN = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


def node(name: str, zone: str = "", cpu: str = "2", *, ready: str = "True", **labels: str) -> Node:
    return Node(
        metadata=ObjectMeta(
            name=name, labels={**({"topology.kubernetes.io/zone": zone} if zone else {}), **labels}
        ),
        status=NodeStatus(allocatable={"cpu": cpu}, conditions=(NodeCondition(type="Ready", status=ready),)),
    )


MASTER = Node(metadata=ObjectMeta(name="m", labels={"node-role.kubernetes.io/control-plane": ""}))


@pytest.mark.parametrize(
    ("annotations", "asked"),
    [
        ({}, False),
        ({MODE: "Auto"}, True),
        ({MODE: "auto"}, True),
        ({MODE: "Disabled"}, False),
        ({OLD_MODE: "auto"}, True),
        ({MODE: "Disabled", OLD_MODE: "Auto"}, False),
    ],
)
def test_who_asks_for_it(annotations: dict[str, str], asked: bool) -> None:
    assert is_asked(annotations) is asked


@pytest.mark.parametrize(
    ("nodes", "parts"),
    [
        ([node("1", "a"), node("2", "b")], {"a": 0.5, "b": 0.5}),
        ([node("1", "a"), node("2", "b", "6")], {"a": 0.25, "b": 0.75}),
        ([node("1", "a"), node("2", "a"), node("3", "b", "4000m")], {"a": 0.5, "b": 0.5}),
        ([MASTER, node("1", "a"), node("2", "b")], {"a": 0.5, "b": 0.5}),
        ([node("1", "a"), node("2", "b"), node("3", "c", ready="Unknown")], {"a": 0.5, "b": 0.5}),
        ([node("1", "a"), node("2", "a")], {}),
        ([node("1", "a"), node("2", "b"), node("3")], {}),
        ([node("1", "a"), node("2", "b", "0")], {}),
        ([], {}),
    ],
)
def test_the_parts_of_the_zones(nodes: list[Node], parts: dict[str, float]) -> None:
    assert cpu_by_zone(nodes) == parts


@pytest.mark.parametrize(
    ("zones", "parts", "meant"),
    [
        # Every zone has what it needs: each for its own.
        ("abc", EVEN, "abc"),
        ("aabbcc", EVEN, "aabbcc"),
        # One has too many, and another too few.
        ("aaab", {"a": 0.5, "b": 0.5}, "baab"),
        ("aaaa", {"a": 0.5, "b": 0.5}, "bbaa"),
        ("aaabbb", EVEN, "caacbb"),
        # A zone whose nodes are all masters, or not ready, has no share.
        ("mmab", {"a": 0.5, "b": 0.5}, "abab"),
        # A small zone gets one, though less than a whole one is its part.
        ("aaaaa", {"a": 10 / 11, "b": 1 / 11}, "baaaa"),
        # By CPU, and not by number.
        ("aabb", {"a": 0.25, "b": 0.75}, "babb"),
    ],
)
def test_who_serves_whom(zones: str, parts: dict[str, float], meant: str) -> None:
    assert assign(tuple(zones), ("",) * len(zones), parts) == tuple(meant)


@pytest.mark.parametrize(
    ("zones", "parts", "why"),
    [
        (("a", "b"), {}, NO_INFORMATION),
        (("a", "b"), EVEN, "Insufficient number of endpoints (2 endpoints, 3 zones)"),
        (
            ("a", "b", "b"),
            {"a": 0.5, "b": 0.5},
            f"{TOO_UNEVEN} (3 endpoints, 2 zones)",
        ),
        (("a", "", "b", "b"), {"a": 0.5, "b": 0.5}, NO_ZONE),
    ],
)
def test_when_there_are_none(zones: tuple[str, ...], parts: dict[str, float], why: str) -> None:
    assert assign(zones, ("",) * len(zones), parts) == Refused(why)


def test_what_is_assigned_stays_while_no_zone_is_overloaded() -> None:
    parts = {"a": 0.5, "b": 0.5}

    # Nine of twenty is no overload; eight is.
    assert assign(("a",) * 20, ("a",) * 11 + ("b",) * 9, parts) == ("a",) * 11 + ("b",) * 9
    moved = assign(("a",) * 20, ("a",) * 12 + ("b",) * 8, parts)
    assert not isinstance(moved, Refused)
    assert Counter(moved) == {"a": 10, "b": 10}


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=40),
    st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=40, max_size=40),
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 64), min_size=2, max_size=4),
)
def test_no_zone_bears_a_fifth_more_than_its_share(
    zones: Sequence[str], current: Sequence[str], cpus: dict[str, int]
) -> None:
    parts = {zone: number / sum(cpus.values()) for zone, number in cpus.items()}

    meant = assign(zones, current[: len(zones)], parts)

    if isinstance(meant, Refused):
        return
    has = Counter(meant)
    for zone, part in parts.items():
        assert has[zone] >= math.ceil(len(zones) * part * (1 / (1 + OVERLOAD)))
    assert set(meant) <= set(parts)
    # It comes to rest.
    assert assign(zones, meant, parts) == meant


def service(**annotations: str) -> Service:
    return Service(
        metadata=ObjectMeta(name="web", namespace="a", uid="svc", annotations=annotations),
        spec=ServiceSpec(
            selector=LABELS,
            cluster_ip="10.96.0.10",
            ip_families=("IPv4",),
            ports=(ServicePort(name="p", port=80, target_port=8080, protocol="TCP"),),
            traffic_distribution="PreferSameZone",
        ),
    )


AUTO = service(**{MODE: "Auto"})
NODES = (node("n1", "a"), node("n2", "b"))


def serving(number: int, on: str, *, ready: bool = True) -> Pod:
    return pod(f"pod-{number}", ready=ready, node=on, ip=f"10.244.0.{number}")


PODS = tuple(serving(number, "n1") for number in range(1, 5))


def done(*objects: Any) -> list[Any]:
    found = CONTROLLER.observe(view(CONTROLLER, *objects), Key("a", "web"))
    return [] if found is None else list(CONTROLLER.diff(found))


def made(*objects: Any) -> EndpointSlice:
    (create,) = only(done(*objects), Create)
    found: EndpointSlice = create.object
    return replace(found, metadata=replace(found.metadata, uid="s", resource_version="1"))


def meant(one: EndpointSlice) -> list[str]:
    return [endpoint.hints.for_zones[0].name if endpoint.hints else "" for endpoint in one.endpoints]


def told(actions: list[Any]) -> list[tuple[str, str, str]]:
    return [(one.type, one.reason, one.message) for one in only(actions, Emit)]


def test_slices_bear_the_hints_and_the_service_an_event() -> None:
    assert meant(made(AUTO, *NODES, *PODS)) == ["b", "b", "a", "a"]
    assert told(done(AUTO, *NODES, *PODS)) == [
        ("Normal", "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4")
    ]


def test_it_comes_to_rest() -> None:
    assert done(AUTO, *NODES, *PODS, made(AUTO, *NODES, *PODS)) == []


def test_endpoints_that_are_not_ready_are_meant_for_nobody_and_do_not_count() -> None:
    found = made(AUTO, *NODES, *PODS, serving(5, "n2", ready=False))

    assert meant(found) == ["b", "b", "a", "a", ""]


def test_the_annotation_comes_before_the_distribution() -> None:
    assert meant(made(AUTO, *NODES, *PODS))[:2] == ["b", "b"]
    assert meant(made(service(), *NODES, *PODS)) == ["a"] * 4


def test_hints_go_when_a_zone_is_not_known_any_more() -> None:
    before = made(AUTO, *NODES, *PODS)
    actions = done(AUTO, NODES[0], node("n2"), *PODS, before)

    (patch,) = only(actions, Patch)
    assert meant(patch.new) == [""] * 4
    assert told(actions) == [
        ("Warning", "TopologyAwareHintsDisabled", f"{NO_INFORMATION}, addressType: IPv4")
    ]
    # Once: nothing changes at the next look, so nothing is told.
    assert done(AUTO, NODES[0], node("n2"), *PODS, patch.new) == []


def test_nothing_is_told_again_while_hints_stay() -> None:
    before = made(AUTO, *NODES, *PODS)
    actions = done(AUTO, *NODES, *PODS, *(serving(number, "n2") for number in range(5, 9)), before)

    assert only(actions, Patch)
    assert told(actions) == []


def test_an_overloaded_zone_is_relieved() -> None:
    before = made(AUTO, *NODES, *PODS)
    crowded = replace(
        before,
        endpoints=tuple(
            replace(one, hints=EndpointHints(for_zones=(ForZone(name="a"),))) for one in before.endpoints
        ),
    )

    (patch,) = only(done(AUTO, *NODES, *PODS, crowded), Patch)
    assert sorted(meant(patch.new)) == ["a", "a", "b", "b"]


def test_a_node_wakes_the_services_that_are_shared_out_and_no_others() -> None:
    other = replace(service(), metadata=ObjectMeta(name="other", namespace="a", uid="o"))
    seen = view(CONTROLLER, AUTO, other, *NODES)
    wakes = [each for kind, each in CONTROLLER.watches if kind is Node and isinstance(each, WhenChanged)]
    (wake,) = [each for each in wakes if each.part(NODES[0]) == ("a", 2000)]

    assert list(wake(NODES[0], seen)) == [Key("a", "web")]
    assert wake.is_about(node("n1", "a", "4"), NODES[0])
    assert wake.is_about(node("n1", "a", ready="Unknown"), NODES[0])
    assert not wake.is_about(NODES[0], node("n1", "a", other="label"))
