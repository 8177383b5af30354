"""The plan of an upgrade: what machines say, in which order they come, and what has to hold before and after each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.coordination_v1 import Lease, LeaseSpec
from kybern.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint
from kybern.api.meta_v1 import ObjectMeta
from kybern.machines.load import load
from kybern.machines.standing import Told
from kybern.machines.topology import Machine
from kybern.machines.upgrading import (
    CORDONED,
    IN_STEP,
    UPGRADE,
    Found,
    Looked,
    Step,
    api_older,
    asking,
    daemons,
    found,
    goes_back,
    hindrances,
    left_cordoned,
    members,
    steps,
    takes_pods_beside,
    unwell,
)

LAB = load(Path(__file__).parents[3] / "inventories/topology/lab.yaml")
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
OLD = "v1.36.2-kybern"
ALL = frozenset(machine.name for machine in LAB.machines)


def status(**more: Any) -> dict[str, Any]:
    return {"version": "3.5.16", "leader": 12, "raftTerm": 3, "raftAppliedIndex": 5000, **more}


def node(
    name: str, *, ready: str = "True", effect: str = "", ours: bool = False, cordoned: bool = False
) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, annotations={CORDONED: UPGRADE} if ours else {}),
        spec=NodeSpec(
            unschedulable=ours or cordoned, taints=(Taint(key="t", effect=effect),) if effect else ()
        ),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=ready),),
            node_info=NodeSystemInfo(kubelet_version=OLD),
        ),
    )


def lease(seconds: float = 1) -> Lease:
    return Lease(spec=LeaseSpec(renew_time=STARTED + timedelta(seconds=seconds)))


def machine(each: Machine) -> Found:
    masters = {"kube-apiserver": OLD} if each.is_master else {}
    return Found(
        told=Told(answers=True, ready=each.is_master, etcd=status() if each.is_etcd else {}),
        release="package-aaa",
        named="package-aaa",
        running={**masters, "kubelet": OLD},
        kubelet=STARTED.timestamp(),
    )


WELL = Looked(
    machines={each.name: machine(each) for each in LAB.machines},
    nodes={
        each.name: node(each.name, effect="NoSchedule" if each.is_master else "") for each in LAB.machines
    },
    leases={each.name: lease() for each in LAB.machines},
)


def told(name: str, looked: Looked = WELL, **changes: Any) -> Looked:
    one = looked.of(name)
    return replace(
        looked, machines={**looked.machines, name: replace(one, told=replace(one.told, **changes))}
    )


def says(name: str, **changes: Any) -> Looked:
    return replace(WELL, machines={**WELL.machines, name: replace(WELL.of(name), **changes)})


def with_node(name: str, changed: Node | None) -> Looked:
    rest = {key: value for key, value in (WELL.nodes or {}).items() if key != name}
    return replace(WELL, nodes={**rest, **({name: changed} if changed else {})})


def order(due: frozenset[str], batch: int = 1, older: frozenset[str] = frozenset()) -> list[str]:
    return [f"{step.verb}: {step.names}" for step in steps(LAB, due, batch, older)]


@pytest.mark.parametrize(
    ("due", "batch", "older", "wanted"),
    [
        (frozenset(), 1, frozenset(), []),
        (
            ALL, 1, frozenset(),
            ["cluster: master-1", "cluster: master-2", "cluster: master-3", "cluster: worker-1", "cluster: worker-2"],
        ),
        (
            ALL, 2, frozenset(),
            ["cluster: master-1", "cluster: master-2", "cluster: master-3", "cluster: worker-1, worker-2"],
        ),
        (ALL - {"master-1", "master-3", "worker-1"}, 5, frozenset(), ["cluster: master-2", "cluster: worker-2"]),
        # To another minor version: every API server before any control loop and any kubelet.
        (
            ALL, 9, frozenset({"master-2", "master-3"}),
            [
                "apiservers: master-2", "apiservers: master-3",
                "cluster: master-1", "cluster: master-2", "cluster: master-3", "cluster: worker-1, worker-2",
            ],
        ),
    ],
)  # fmt: skip
def test_the_order(due: frozenset[str], batch: int, older: frozenset[str], wanted: list[str]) -> None:
    assert order(due, batch, older) == wanted


def test_members_of_etcd_that_are_no_masters_go_first_and_alone() -> None:
    outside = Machine("etcd-1", IPv4Address("10.42.0.31"), frozenset({"etcd"}))
    cluster = replace(LAB, machines=(*LAB.machines, outside))

    assert steps(cluster, {"worker-1", "etcd-1", "master-1"}, 5)[:2] == (
        Step("cluster", (outside,)),
        Step("cluster", (LAB.machines[0],)),
    )


@given(st.frozensets(st.sampled_from(sorted(ALL))), st.integers(1, 6))
def test_each_machine_that_is_due_comes_once_and_never_two_masters_together(
    due: frozenset[str], batch: int
) -> None:
    found = steps(LAB, due, batch)

    assert sorted(each.name for step in found for each in step.machines) == sorted(due)
    assert all(len(step.machines) == 1 or not any(each.is_master for each in step.machines) for step in found)
    assert all(len(step.machines) <= batch for step in found)


@pytest.mark.parametrize(
    ("looked", "without", "wanted"),
    [
        (WELL, (), ""),
        (replace(WELL, nodes=None), (), "the API does not answer at 10.42.0.10:6443"),
        (told("master-2", ready=False), (), "the API server of master-2 is not ready"),
        (told("master-2", ready=False), ("master-2",), ""),
        (told("master-2", answers=False), (), "master-2 does not answer by SSH"),
        (told("master-2", etcd={}), (), "the member of etcd on master-2 does not answer"),
        (told("master-2", etcd={}), ("master-2",), ""),
        (told("master-2", etcd=status(isLearner=True)), (), "the member of etcd on master-2 has no vote yet"),
        (told("master-2", etcd=status(errors=["NOSPACE"])), (), "etcd on master-2 says: NOSPACE"),
        (told("master-2", etcd=status(leader=11)), (), "the members of etcd do not agree on a leader"),
        (told("master-2", etcd=status(raftTerm=4)), (), "the members of etcd do not agree on a leader"),
        (told("master-2", etcd=status(leader=0)), ("master-1", "master-3"), "do not agree on a leader"),
        (told("master-2", etcd=status(raftAppliedIndex=5000 + IN_STEP)), (), ""),
        (
            told("master-2", etcd=status(raftAppliedIndex=5001 + IN_STEP)), (),
            f"etcd on master-1 is {IN_STEP + 1} entries behind",
        ),
        # What workers do is no reason to keep the control plane waiting.
        (told("worker-1", answers=False), (), ""),
        # A lone master is the whole API.
        (replace(WELL, nodes=None), ("master-1", "master-2", "master-3"), ""),
    ],
)  # fmt: skip
def test_what_has_to_be_well_before_a_machine_is_taken_out(
    looked: Looked, without: tuple[str, ...], wanted: str
) -> None:
    found = hindrances(LAB, looked, without)

    assert bool(found) is bool(wanted)
    assert not wanted or any(wanted in each for each in found)


@pytest.mark.parametrize(
    ("looked", "wanted"),
    [
        (WELL, ""),
        (told("worker-1", answers=False), "worker-1 does not answer by SSH"),
        (told("worker-1", failed=("kubelet.service",)), "not running on worker-1: kubelet"),
        (says("worker-1", running={"kubelet": "v1.36.1"}), f"kubelet of worker-1 is v1.36.1, not {OLD}"),
        (with_node("worker-1", None), "worker-1 is no node"),
        (with_node("worker-1", node("worker-1", ready="Unknown")), "the node worker-1 is not Ready"),
        (
            replace(WELL, leases={**WELL.leases, "worker-1": lease(-1)}),
            "the kubelet of worker-1 has not been heard of since it was started",
        ),
        (replace(WELL, leases={}), "the kubelet of worker-1 has not been heard of since it was started"),
        (told("worker-2", answers=False), ""),
    ],
)
def test_when_a_machine_is_well_after_its_upgrade(looked: Looked, wanted: str) -> None:
    worker = [each for each in LAB.machines if each.name == "worker-1"]

    assert unwell(LAB, looked, worker, {"kubelet": OLD}) == ((wanted,) if wanted else ())


def test_after_its_api_server_only_that_has_the_new_version() -> None:
    master = LAB.machines[:1]
    looked = says("master-1", running={"kube-apiserver": "v1.37.0", "kubelet": OLD})

    assert unwell(LAB, looked, master, {"kube-apiserver": "v1.37.0"}) == ()
    assert unwell(LAB, looked, master, {"kube-apiserver": "v1.37.0", "kubelet": "v1.37.0"}) != ()


def test_a_minor_version_begins_with_the_api_servers_that_are_older() -> None:
    looked = says("master-1", running={"kube-apiserver": "v1.37.0"})

    assert api_older(LAB, looked, "v1.37.0-kybern") == {"master-2", "master-3"}
    assert api_older(LAB, looked, OLD) == frozenset()


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ((node("b"),), True),
        ((), False),
        ((node("b", cordoned=True),), False),
        ((node("b", ready="False"),), False),
        ((node("b", effect="NoSchedule"),), False),
        ((node("b", effect="NoExecute"),), False),
        ((node("b", effect="PreferNoSchedule"),), True),
        ((node("b", cordoned=True), node("c")), True),
    ],
)
def test_pods_go_where_another_node_takes_them(others: tuple[Node, ...], wanted: bool) -> None:
    nodes = {each.metadata.name: each for each in (node("a"), *others)}

    assert takes_pods_beside(nodes, {"a"}) is wanted


def test_only_nodes_that_an_upgrade_has_cordoned_are_taken_up_again() -> None:
    looked = replace(
        WELL,
        nodes={
            **(WELL.nodes or {}),
            "worker-1": node("worker-1", ours=True),
            "worker-2": node("worker-2", cordoned=True),
        },
    )

    assert left_cordoned(LAB, looked) == {"worker-1"}


@pytest.mark.parametrize(
    ("was", "now", "wanted"),
    [
        (Found(release="package-a", named="package-a"), Found(before="package-a"), True),
        # What it ran until an earlier upgrade is not what it ran until this one.
        (Found(release="package-b", named="package-b"), Found(before="package-a"), False),
        # The one that was interrupted.
        (Found(release="package-b", named="package-a,package-b"), Found(before="package-a"), True),
        (Found(release="package-a", named="package-a"), Found(before=""), False),
    ],
)
def test_a_machine_goes_back_to_what_it_ran_until_this_upgrade(was: Found, now: Found, wanted: bool) -> None:
    assert goes_back(was, now) is wanted


ANSWER = """
Welcome to this machine
KYBERN failed
KYBERN ready ok
KYBERN etcd [{"Status": {"version": "3.5.16", "leader": 12}}]
KYBERN release package-b1
KYBERN before package-a1
KYBERN named package-a1,package-b1
KYBERN version kube-apiserver v1.36.2-kybern
KYBERN version kubelet v1.36.1
KYBERN restarts 3
KYBERN kubelet 1764201600
KYBERN offered 3.5.16-4
"""


def test_what_a_machine_says() -> None:
    one = found(ANSWER)

    assert (one.told.answers, one.told.ready, one.told.etcd["leader"]) == (True, True, 12)
    assert (one.release, one.before, one.is_between, one.restarts) == ("package-b1", "package-a1", True, 3)
    assert one.running == {"kube-apiserver": "v1.36.2-kybern", "kubelet": "v1.36.1"}
    assert (one.kubelet, one.offered) == (1764201600, "3.5.16-4")


def test_a_machine_without_a_cluster_and_one_that_is_silent_say_nothing() -> None:
    bare = found(
        "KYBERN failed etcd.service\nKYBERN ready \nKYBERN release \nKYBERN kubelet \nKYBERN restarts 0\n"
    )

    assert (bare.release, bare.running, bare.kubelet, bare.told.failed) == ("", {}, 0, ("etcd.service",))
    assert found("").told.answers is False


def test_apt_is_asked_only_where_packages_are_wanted() -> None:
    master, worker = LAB.machines[0], LAB.machines[-1]

    assert "apt" not in asking(LAB, master)
    assert "apt-cache policy etcd-server" in asking(LAB, master, packages=True)
    assert "apt" not in asking(LAB, worker, packages=True)


def test_a_silent_worker_is_known_by_its_node() -> None:
    looked = says("worker-1", running={}, told=Told())

    assert [str(each) for each in daemons(LAB, looked) if each.machine == "worker-1"] == [
        f"kubelet of worker-1 is {OLD}"
    ]
    assert len(daemons(LAB, looked)) == 3 + 5


def test_members_are_compared_where_apt_offers_something() -> None:
    running, offered = members(LAB, says("master-1", offered="3.6.1-1"))

    assert [each.version for each in running] == ["3.5.16"] * 3
    assert [(each.machine, each.version) for each in offered] == [("master-1", "3.6.1-1")]
