"""Nodes that fall silent, their taints, their pods, and their ranges of addresses."""

from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Pod, Taint, Toleration
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import node_ipam, node_lifecycle, pod_garbage_collector, taint_eviction
from kybern.controllers.node_lifecycle import NOT_READY, UNREACHABLE, State, Zone
from kybern.loop.controller import Again, Delete, Emit, Key, Measure, Patch, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, ago, every, only, pod, view

SETTINGS = Settings()
CALM = Zone(cluster_is_down=False, size=5, unready=1, last_tainted=None)


def node(
    ready: str = "True",
    *taints: Taint,
    name: str = "n1",
    cidr: str = "",
    unschedulable: bool | None = None,
    **conditions: str,
) -> Node:
    found = {
        "Ready": ready,
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        **conditions,
    }
    return Node(
        metadata=ObjectMeta(name=name, creation_timestamp=ago(1000)),
        spec=NodeSpec(
            taints=taints, pod_cidr=cidr, pod_cidrs=(cidr,) if cidr else (), unschedulable=unschedulable
        ),
        status=NodeStatus(
            conditions=tuple(
                NodeCondition(type=kind, status=status, last_heartbeat_time=ago(60))
                for kind, status in found.items()
            )
        ),
    )


def state(of: Node, *pods: Pod, silent: float = 0, zone: Zone = CALM, posted: bool = True) -> State:
    return State(of, ago(silent), posted, pods, zone, NOW, SETTINGS)


def taints(actions: Any) -> set[tuple[str, str]]:
    return {(taint.key, taint.effect) for action in only(actions, Patch) for taint in action.new.spec.taints}


def taint(key: str, effect: str, added: datetime | None = None) -> Taint:
    return Taint(key=key, effect=effect, time_added=added)


def test_a_node_that_speaks_is_only_looked_at_again() -> None:
    assert every(node_lifecycle.diff(state(node(), silent=10))) == [Again(40.1)]


def test_a_silent_node_becomes_unknown_and_this_is_told() -> None:
    actions = every(node_lifecycle.diff(state(node(), silent=51)))

    assert {one.status for one in actions[0].new.status.conditions} == {"Unknown"}
    assert {one.message for one in actions[0].new.status.conditions} == {
        "Kubelet stopped posting node status."
    }
    assert actions[1] == Emit(node(), "Normal", "NodeNotReady", "Node n1 status is now: NodeNotReady")


def test_a_node_that_never_spoke_has_longer_to_do_so() -> None:
    fresh = replace(node(), status=NodeStatus())

    assert not [
        one
        for one in node_lifecycle.diff(state(fresh, silent=55, posted=False))
        if isinstance(one, PatchStatus)
    ]
    actions = every(node_lifecycle.diff(state(fresh, silent=61, posted=False)))
    assert {one.reason for one in actions[0].new.status.conditions} == {"NodeStatusNeverUpdated"}


@pytest.mark.parametrize(("said", "posted"), [(NodeStatus(), False), (node().status, True)])
def test_a_lease_alone_is_of_a_node_that_still_starts(said: NodeStatus, posted: bool) -> None:
    lease = Lease(metadata=ObjectMeta(name="n1", namespace=node_lifecycle.LEASES))
    controller = node_lifecycle.controller(SETTINGS)

    found = controller.observe(view(controller, replace(node(), status=said), lease), Key("", "n1"))

    assert found is not None
    assert (found.posted, found.heartbeat) == (posted, NOW)


def test_pods_of_a_node_that_is_not_ready_are_not_ready() -> None:
    serving = pod("serving", ready=True, node="n1")
    actions = every(node_lifecycle.diff(state(node("False"), serving)))

    assert actions[0] == PatchStatus(serving, actions[0].new)
    assert [one.status for one in actions[0].new.status.conditions] == ["False"]


@pytest.mark.parametrize(("ready", "key"), [("False", NOT_READY), ("Unknown", UNREACHABLE)])
def test_trouble_taints_against_scheduling_and_running(ready: str, key: str) -> None:
    assert taints(node_lifecycle.diff(state(node(ready)))) == {(key, "NoSchedule"), (key, "NoExecute")}


@pytest.mark.parametrize(
    ("conditions", "key"),
    [
        ({"MemoryPressure": "True"}, "node.kubernetes.io/memory-pressure"),
        ({"DiskPressure": "True"}, "node.kubernetes.io/disk-pressure"),
        ({"PIDPressure": "True"}, "node.kubernetes.io/pid-pressure"),
        ({"NetworkUnavailable": "True"}, "node.kubernetes.io/network-unavailable"),
        ({"unschedulable": True}, "node.kubernetes.io/unschedulable"),
    ],
)
def test_pressure_and_cordon_taint_against_scheduling(conditions: dict[str, Any], key: str) -> None:
    assert taints(node_lifecycle.diff(state(node("True", **conditions)))) == {(key, "NoSchedule")}


def test_taints_of_others_stay_and_ours_go_with_their_reason() -> None:
    own = Taint(key="team", value="a", effect="NoSchedule")
    back = node("True", own, taint(UNREACHABLE, "NoSchedule", NOW), taint(UNREACHABLE, "NoExecute", NOW))

    actions = every(node_lifecycle.diff(state(back)))

    assert only(actions, Patch)[0].new.spec.taints == (own,)


def test_a_taint_keeps_the_time_at_which_it_was_added() -> None:
    held = node(
        "Unknown", taint(UNREACHABLE, "NoSchedule", ago(99)), taint(UNREACHABLE, "NoExecute", ago(99))
    )

    assert not taints(node_lifecycle.diff(state(held)))


def test_one_node_of_a_zone_in_ten_seconds() -> None:
    busy = replace_zone(last_tainted=ago(4))
    actions = every(node_lifecycle.diff(state(node("Unknown"), zone=busy)))

    assert taints(actions) == {(UNREACHABLE, "NoSchedule")}
    assert Again(6.0) in actions
    later = replace_zone(last_tainted=ago(11))
    assert (UNREACHABLE, "NoExecute") in taints(node_lifecycle.diff(state(node("Unknown"), zone=later)))


def test_each_node_whose_pods_have_to_leave_is_counted_once_by_its_zone() -> None:
    lost = node("Unknown")
    placed = {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}
    labelled = replace(lost, metadata=replace(lost.metadata, labels=placed))
    told = [only(node_lifecycle.diff(state(one)), Measure) for one in (lost, labelled)]
    assert [[one.labels for one in found] for found in told] == [[("",)], [("r:\x00:z",)]]
    assert told[0][0].metric == "node_collector_evictions_total"

    waiting = node_lifecycle.diff(state(lost, zone=replace_zone(last_tainted=ago(4))))
    there = node("False", taint(UNREACHABLE, "NoSchedule", NOW), taint(UNREACHABLE, "NoExecute", NOW))
    assert only(waiting, Measure) == only(node_lifecycle.diff(state(there)), Measure) == []


def replace_zone(**fields: Any) -> Zone:
    return Zone(**{**{name: getattr(CALM, name) for name in Zone.__slots__}, **fields})


def test_when_no_node_is_ready_nobody_is_evicted_and_what_was_begun_is_taken_back() -> None:
    down = replace_zone(cluster_is_down=True)
    tainted = node("Unknown", taint(UNREACHABLE, "NoSchedule", NOW), taint(UNREACHABLE, "NoExecute", NOW))

    assert taints(node_lifecycle.diff(state(tainted, zone=down))) == {(UNREACHABLE, "NoSchedule")}


@pytest.mark.parametrize(("size", "evicts"), [(10, False), (100, True)])
def test_in_an_unhealthy_zone_only_large_ones_evict(size: int, evicts: bool) -> None:
    zone = replace_zone(size=size, unready=int(size * 0.6))

    assert (
        (UNREACHABLE, "NoExecute") in taints(node_lifecycle.diff(state(node("Unknown"), zone=zone)))
    ) is evicts


def test_a_zone_that_is_lost_as_a_whole_is_emptied_while_others_are_well() -> None:
    lost = replace_zone(size=3, unready=3)

    assert (UNREACHABLE, "NoExecute") in taints(node_lifecycle.diff(state(node("Unknown"), zone=lost)))
    almost = replace_zone(size=4, unready=3)
    assert (UNREACHABLE, "NoExecute") not in taints(node_lifecycle.diff(state(node("Unknown"), zone=almost)))


# Eviction by taints.


def evicting(one: Pod, *found: Taint) -> list[Any]:
    return list(taint_eviction.diff(taint_eviction.State(one, found, NOW)))


STRONG = Taint(key=UNREACHABLE, effect="NoExecute", time_added=ago(20))


def tolerant(seconds: int | None, **fields: str) -> Pod:
    found = Toleration(
        **{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", **fields},
        toleration_seconds=seconds,
    )
    return pod("p", node="n1", tolerations=(found,))


def test_a_pod_that_tolerates_nothing_goes_at_once_and_says_why() -> None:
    actions = evicting(pod("p", node="n1"), STRONG)

    condition = actions[0].new.status.conditions[-1]
    assert (condition.type, condition.reason) == ("DisruptionTarget", "DeletionByTaintManager")
    assert actions[1].reason == "TaintManagerEviction"
    assert isinstance(actions[2], Delete)


def test_a_pod_that_tolerates_for_ever_stays() -> None:
    assert evicting(tolerant(None), STRONG) == []


def test_a_pod_that_tolerates_for_a_while_stays_for_a_while() -> None:
    assert evicting(tolerant(300), STRONG) == [Again(280.05)]
    assert evicting(tolerant(20), STRONG)[-2:] == [
        Delete(tolerant(20)),
        Measure("taint_eviction_controller_pod_deletions_total"),
    ]


def test_a_pod_that_came_after_the_taint_has_its_time_from_then() -> None:
    late = tolerant(300)
    late = replace(late, metadata=replace(late.metadata, creation_timestamp=ago(5)))

    assert evicting(late, STRONG) == [Again(295.05)]


def test_a_taint_without_a_time_counts_from_when_it_was_seen() -> None:
    controller = taint_eviction.controller(SETTINGS)
    patient, tainted = tolerant(300), node("True", taint(UNREACHABLE, "NoExecute"))

    def looking(at: Node, later: float) -> Any:
        seen = view(controller, patient, at, now=NOW + timedelta(seconds=later))
        woken = [key for kind, wake in controller.watches if kind is Node for key in wake(at, seen)]
        found = controller.observe(seen, Key("a", "p"))
        return woken, [] if found is None else list(controller.diff(found))

    woke = [Key("a", "p")]
    assert looking(tainted, 0) == (woke, [Again(300.05)])
    assert looking(tainted, 100) == (woke, [Again(200.05)])
    assert Delete(patient) in looking(tainted, 300)[1]
    # Gone and back, it counts anew; a node that has had none wakes nobody.
    assert looking(node("True"), 301) == (woke, [])
    assert looking(node("True"), 302) == ([], [])
    assert looking(tainted, 303) == (woke, [Again(300.05)])


# Pods without a future.


class Collecting:
    """A collector that looks at a pod now and ``later`` seconds after; ``live`` is what the API server knows of nodes."""

    def __init__(self) -> None:
        self.controller = pod_garbage_collector.controller(SETTINGS)

    def look(self, one: Pod, *nodes: Node, live: Node | None = None, later: float = 0.0) -> list[Any]:
        now = NOW + timedelta(seconds=later)
        seen = view(self.controller, one, *nodes, kinds=(Node,), live=lambda _question: live, now=now)
        found = self.controller.observe(seen, Key("a", one.metadata.name))
        return [] if found is None else list(self.controller.diff(found))

    def woken(self, at: Node, *objects: Object) -> list[Key]:
        seen = view(self.controller, *objects, kinds=(Node,))
        return [key for kind, wake in self.controller.watches if kind is Node for key in wake(at, seen)]


def collected(one: Pod, *nodes: Node) -> list[Any]:
    return Collecting().look(one, *nodes)


LOST = pod("p", ready=True, node="n1")


def forced(reason: str) -> Measure:
    return Measure("pod_gc_collector_force_delete_pods_total", ("a", reason))


def test_pods_of_a_node_that_is_gone_fail_and_go_without_grace_after_a_while() -> None:
    collecting = Collecting()

    assert collecting.look(LOST) == [Again(40)]
    assert collecting.look(LOST, later=39) == [Again(1)]
    failed, gone, told = collecting.look(LOST, later=40)

    assert failed.new.status.phase == "Failed"
    assert failed.new.status.conditions[-1].message == "PodGC: node no longer exists"
    assert gone == Delete(LOST, grace_seconds=0)
    assert told == forced("orphaned")


def test_a_node_that_comes_back_keeps_its_pods_and_counts_anew() -> None:
    collecting, woke = Collecting(), [Key("a", "p")]
    collecting.look(LOST)

    # It wakes its pods once, so that its absence is forgotten.
    assert collecting.woken(node(), LOST, node()) == woke
    assert collecting.look(LOST, node(), later=10) == []
    assert collecting.woken(node(), LOST, node()) == []
    assert collecting.woken(node(), LOST) == woke
    assert collecting.look(LOST, later=45) == [Again(40)]


def test_a_node_that_no_pod_names_any_more_is_forgotten() -> None:
    collecting = Collecting()
    collecting.look(LOST)
    collecting.look(pod("other"), later=30)

    assert collecting.look(LOST, later=45) == [Again(40)]


def test_a_node_that_only_the_server_knows_yet_is_there() -> None:
    collecting = Collecting()
    collecting.look(LOST)

    assert collecting.look(LOST, live=node(), later=60) == []


def test_pods_that_were_deleted_before_they_were_placed_fail_and_go() -> None:
    waiting = pod("p")
    assert collected(waiting) == []
    going = replace(waiting, metadata=replace(waiting.metadata, deletion_timestamp=NOW))
    told, gone, counted = collected(going)

    # A finalizer may hold it, and whoever put that there waits for its end. Nothing disrupted it.
    assert told.new.status.phase == "Failed"
    assert told.new.status.conditions == going.status.conditions
    assert (gone, counted) == (Delete(going, grace_seconds=0), forced("unscheduled"))
    assert collected(told.new) == [Delete(told.new, grace_seconds=0), forced("unscheduled")]


def test_too_many_finished_pods_go_oldest_first() -> None:
    def finished(name: str, age: float) -> Pod:
        one = pod(name, ready=False, node="n1")
        return replace(
            one,
            status=replace(one.status, phase="Failed"),
            metadata=replace(one.metadata, creation_timestamp=ago(age)),
        )

    pods = [finished("young", 1), finished("old", 100), finished("middle", 50)]

    assert [one.metadata.name for one in pod_garbage_collector.surplus(pods, 1)] == ["old", "middle"]
    assert pod_garbage_collector.surplus(pods, 0) == ()
    evicted = replace(pods[0], status=replace(pods[0].status, reason="Evicted"))
    assert [one.metadata.name for one in pod_garbage_collector.surplus([*pods[1:], evicted], 2)] == ["young"]


def test_terminating_pods_of_a_node_out_of_service_go() -> None:
    going = pod("p", ready=True, node="n1")
    going = replace(going, metadata=replace(going.metadata, deletion_timestamp=NOW))

    assert collected(going, node("Unknown")) == []
    assert collected(
        going, node("Unknown", Taint(key="node.kubernetes.io/out-of-service", effect="NoExecute"))
    )


# Ranges of pod addresses.


def given(*nodes: Node, pods: str = "10.244.0.0/16", services: str = "") -> list[Any]:
    settings = Settings(
        cluster_cidrs=tuple(ip_network(one) for one in pods.split(",")),
        service_cidrs=tuple(ip_network(one) for one in services.split(",") if one),
    )
    controller = node_ipam.controller(settings)
    found = controller.observe(view(controller, *nodes), Key("", "n1"))
    return [] if found is None else list(controller.diff(found))


def test_a_node_gets_the_first_range_that_is_free() -> None:
    actions = given(node(), node(name="n2", cidr="10.244.0.0/24"), node(name="n3", cidr="10.244.2.0/24"))

    assert (actions[0].new.spec.pod_cidr, actions[0].new.spec.pod_cidrs) == (
        "10.244.1.0/24",
        ("10.244.1.0/24",),
    )


def test_a_node_keeps_its_range() -> None:
    assert given(node(cidr="10.244.7.0/24")) == []


def test_service_addresses_are_not_given_to_pods() -> None:
    assert given(node(), services="10.244.0.0/20")[0].new.spec.pod_cidr == "10.244.16.0/24"


def test_two_families_give_two_ranges() -> None:
    assert given(node(), pods="10.244.0.0/16,fd00::/48")[0].new.spec.pod_cidrs == (
        "10.244.0.0/24",
        "fd00::/64",
    )


def test_a_cluster_that_is_full_says_so() -> None:
    actions = given(node(), node(name="n2", cidr="10.244.0.0/24"), pods="10.244.0.0/24")

    assert [action.reason for action in actions] == ["CIDRNotAvailable"]


def test_a_range_whose_write_got_no_answer_goes_to_nobody_else() -> None:
    """The cache does not show yet what may have been written."""
    settings = Settings(cluster_cidrs=(ip_network("10.244.0.0/16"),), allocate_node_cidrs=True)
    controller = node_ipam.controller(settings)

    def offered(name: str, *nodes: Node) -> str:
        state = controller.observe(view(controller, *nodes), Key("", name))
        (action,) = controller.diff(state) if state is not None else ()
        assert isinstance(action, Patch)
        assert isinstance(action.new, Node)
        return action.new.spec.pod_cidr

    one, two = node(name="n1"), node(name="n2")
    assert offered("n1", one, two) == "10.244.0.0/24"
    assert offered("n2", one, two) == "10.244.1.0/24"
    assert offered("n1", one, two) == "10.244.0.0/24"
    assert offered("n2", two) == "10.244.0.0/24"
