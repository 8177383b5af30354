"""Pods spread over zones and hosts, as hard rule and as wish."""

from typing import Any

import pytest

from kybern.api.apps_v1 import ReplicaSet, ReplicaSetSpec
from kybern.api.core_v1 import Node, Pod, Service, ServiceSpec, TopologySpreadConstraint
from kybern.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins.pod_topology_spread import moved, relabelled
from kybern.scheduler.spreading import HOSTNAME, SOFT, Defaults, constraints
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import decide, node, pod, table_of, taint

ZONE = "topology.kubernetes.io/zone"
SKEWED = "node(s) didn't match pod topology spread constraints"


def over(key: str = ZONE, action: str = "DoNotSchedule", **more: Any) -> TopologySpreadConstraint:
    given: dict[str, Any] = {
        "max_skew": 1,
        "label_selector": LabelSelector(match_labels={"app": "web"}),
    } | more
    return TopologySpreadConstraint(topology_key=key, when_unsatisfiable=action, **given)


def web(name: str, *wanted: TopologySpreadConstraint, **more: Any) -> Pod:
    return pod(
        name, labels={"app": "web"} | more.pop("labels", {}), topology_spread_constraints=wanted, **more
    )


def zones(*names: str) -> Table:
    """Nodes w0, w1, ... in these zones; "" is none."""
    return table_of(
        *(node(f"w{number}", labels={ZONE: zone} if zone else {}) for number, zone in enumerate(names))
    )


def put(table: Table, one: Pod, where: str) -> None:
    table.place(one.metadata.uid, where, PodFacts.of(one))


def message(one: Pod, table: Table) -> str:
    found = decide(one, table)
    assert isinstance(found, Refused)
    return found.message


def test_no_zone_gets_ahead_of_the_emptiest() -> None:
    table = zones("a", "a", "b")

    for number in range(6):
        one = web(f"p{number}", over())
        found = decide(one, table)
        assert isinstance(found, Placed)
        put(table, one, found.node)

    assert sum(table.placed_on(f"uid-p{number}") == "w2" for number in range(6)) == 3


def test_the_words_tell_a_missing_label_from_a_full_zone() -> None:
    table = zones("a", "", "b")
    table.set_node(node("w2", labels={ZONE: "b"}, cordoned=True))
    put(table, web("first"), "w0")

    assert message(web("p", over()), table) == (
        f"0/3 nodes are available: 1 {SKEWED}, 1 {SKEWED} (missing required label), 1 node(s) were unschedulable. "
        "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, True),
        ({"min_domains": 2}, True),
        ({"min_domains": 3}, False),
        ({"min_domains": 3, "max_skew": 2}, True),
    ],
)
def test_with_fewer_domains_than_asked_for_the_emptiest_counts_as_empty(
    more: dict[str, Any], fits: bool
) -> None:
    table = zones("a", "b")
    put(table, web("first"), "w0")
    put(table, web("second"), "w1")

    assert isinstance(decide(web("p", over(**more)), table), Placed) is fits


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, False),
        ({"node_taints_policy": "Honor"}, True),
        ({"node_affinity_policy": "Ignore"}, False),
    ],
)
def test_a_tainted_zone_is_the_emptiest_unless_taints_are_honoured(more: dict[str, Any], fits: bool) -> None:
    table = zones("a", "b")
    table.set_node(node("w1", labels={ZONE: "b"}, taints=[taint("x")]))
    put(table, web("first"), "w0")

    assert isinstance(decide(web("p", over(**more)), table), Placed) is fits


@pytest.mark.parametrize(("policy", "fits"), [("Honor", True), ("Ignore", False)])
def test_zones_that_the_pod_does_not_select_count_only_when_affinity_is_ignored(
    policy: str, fits: bool
) -> None:
    table = zones("a", "b")
    put(table, web("first"), "w0")
    wanted = web("p", over(node_affinity_policy=policy), node_selector={ZONE: "a"})

    assert isinstance(decide(wanted, table), Placed) is fits


def test_match_label_keys_count_only_pods_of_the_same_revision() -> None:
    table = zones("a", "b")
    put(table, web("old", labels={"revision": "1"}), "w0")
    wanted = over(match_label_keys=("revision",))

    found = {decide(web(f"p{one}", wanted, labels={"revision": "2"}), table) for one in range(9)}

    put(table, web("new", labels={"revision": "2"}), "w1")
    assert Placed("w1") in found
    assert decide(web("p", wanted, labels={"revision": "2"}), table) == Placed("w0")


@pytest.mark.parametrize("guest", [web("g", leaving=True), web("g", namespace="other"), pod("g")])
def test_pods_that_leave_or_are_others_do_not_count(guest: Pod) -> None:
    table = zones("a", "b")
    table.set_node(node("w1", labels={ZONE: "b"}, cordoned=True))
    put(table, guest, "w0")

    assert decide(web("p", over()), table) == Placed("w0")


def test_a_soft_constraint_prefers_the_emptier_zone_and_refuses_nothing() -> None:
    table = zones("a", "b")
    for number in range(3):
        put(table, web(f"p{number}"), "w0")
    table.set_node(node("w1", labels={ZONE: "b"}, cpu="2", memory="4Gi"))

    assert decide(web("p", over(action=SOFT)), table) == Placed("w1")


def workload() -> tuple[Service, ReplicaSet, OwnerReference]:
    chosen = {"app": "web"}
    service = Service(metadata=ObjectMeta(namespace="default", name="s"), spec=ServiceSpec(selector=chosen))
    spec = ReplicaSetSpec(selector=LabelSelector(match_labels={"app": "web", "hash": "1"}))
    replicas = ReplicaSet(metadata=ObjectMeta(namespace="default", name="r"), spec=spec)
    owner = OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="r", uid="u", controller=True)
    return service, replicas, owner


def test_pods_of_a_workload_spread_by_default() -> None:
    table = zones("a", "b")
    service, replicas, owner = workload()
    one = pod("p", labels={"app": "web", "hash": "1"}, owners=(owner,))

    assert constraints(one, SOFT, Defaults(), table.objects) == ()
    table.set_object(service)
    table.set_object(replicas)
    found = constraints(one, SOFT, Defaults(), table.objects)
    assert [(each.topology_key, each.max_skew) for each in found] == [(HOSTNAME, 3), (ZONE, 5)]
    assert str(found[0].group.selector) == "app=web,app=web,hash=1"
    assert constraints(one, "DoNotSchedule", Defaults(), table.objects) == ()


OTHER = {"app": "other"}
LEAVING = web("x", leaving=True)


@pytest.mark.parametrize(
    ("old", "new", "helps"),
    [
        (None, web("x"), True),
        (None, pod("x", labels=OTHER), False),
        (None, web("x", namespace="elsewhere"), False),
        (LEAVING, None, True),
        (pod("x", labels=OTHER), None, False),
        (web("x"), pod("x", labels=OTHER), True),
        (pod("x", labels=OTHER), web("x"), True),
        (web("x"), LEAVING, True),
        (web("x"), web("x", labels={"more": "yes"}), False),
    ],
)
def test_only_pods_that_a_constraint_counts_wake_the_refused(
    old: Pod | None, new: Pod | None, *, helps: bool
) -> None:
    action = Action.ADDED if old is None else Action.GONE if new is None else Action.CHANGED

    assert moved(PodFacts.of(web("p", over())), Happening(Pod, action, new, old)) == helps


HERE, THERE = node("w", labels={ZONE: "a"}), node("w", labels={ZONE: "b"})
NOWHERE, RENAMED = node("w", labels={"other": "a"}), node("w", labels={ZONE: "a", "disk": "fast"})
TAINTED = node("w", labels={ZONE: "a"}, taints=(taint("x"),))


@pytest.mark.parametrize(
    ("wanted", "old", "new", "helps"),
    [
        ({}, None, HERE, True),
        ({}, None, NOWHERE, False),
        ({}, HERE, None, True),
        ({}, NOWHERE, None, False),
        ({}, HERE, THERE, True),
        ({}, HERE, NOWHERE, True),
        ({}, NOWHERE, HERE, True),
        ({}, HERE, RENAMED, False),
        ({"node_selector": {"disk": "fast"}}, HERE, RENAMED, True),
        ({}, HERE, TAINTED, False),
        ({"honours": True}, HERE, TAINTED, True),
    ],
)
def test_only_nodes_of_which_a_domain_comes_or_goes_wake_the_refused(
    wanted: dict[str, Any], old: Node | None, new: Node | None, *, helps: bool
) -> None:
    more = dict(wanted)
    one = over(node_taints_policy="Honor") if more.pop("honours", False) else over()
    action = Action.ADDED if old is None else Action.GONE if new is None else Action.CHANGED

    assert relabelled(PodFacts.of(web("p", one, **more)), Happening(Node, action, new, old)) == helps


def test_of_a_pod_without_constraints_of_its_own_nothing_is_ruled_out() -> None:
    assert moved(PodFacts.of(web("p")), Happening(Pod, Action.ADDED, pod("x", labels=OTHER)))
    assert relabelled(PodFacts.of(web("p")), Happening(Node, Action.ADDED, NOWHERE))
