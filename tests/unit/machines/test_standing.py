"""How a cluster stands: what machines and API say, and what an operator reads of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint
from kybern.api.meta_v1 import ObjectMeta
from kybern.machines.clouds import LOCAL
from kybern.machines.expiry import Kept
from kybern.machines.load import load
from kybern.machines.standing import LEADERS, Seen, Standing, Told, question, standing, told, units

LAB = load(Path(__file__).parents[3] / "inventories/topology/lab.yaml")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MEMBERS = {"master-1": 11, "master-2": 12, "master-3": 13}


def etcd(name: str, **more: Any) -> dict[str, Any]:
    return {"header": {"member_id": MEMBERS[name]}, "leader": 12, "dbSize": 2_500_000, **more}


def node(name: str, *, ready: str = "True", cordoned: bool = False, waits: bool = False) -> Node:
    taints = (Taint(key="node.cloudprovider.kubernetes.io/uninitialized", effect="NoSchedule"),)
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(unschedulable=cordoned, taints=taints if waits else ()),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=ready),),
            node_info=NodeSystemInfo(kubelet_version="v1.36.0-kybern"),
        ),
    )


def certificate(days: float, *, is_worn: bool = False) -> Kept:
    return Kept(
        "master-1", "apiserver", "ca", "kube-apiserver", NOW + timedelta(days=days), is_worn, Path("x")
    )


WHOLE = Seen(
    machines={
        each.name: Told(
            answers=True,
            ready=each.is_master,
            etcd=etcd(each.name) if each.is_etcd else {},
            has_vip=each.name == "master-1",
        )
        for each in LAB.machines
    },
    nodes=tuple(node(each.name) for each in LAB.machines),
    leaders=dict.fromkeys(LEADERS, "master-3_4711"),
    certificates=(certificate(200), certificate(300)),
)


def with_machine(name: str, **changes: Any) -> Seen:
    return replace(WHOLE, machines={**WHOLE.machines, name: replace(WHOLE.machines[name], **changes)})


def of(seen: Seen) -> Standing:
    return standing(LAB, seen, NOW)


def test_a_whole_cluster_has_nothing_wrong() -> None:
    found = of(WHOLE)

    assert (found.verdict, found.wrong) == ("whole", ())
    assert found.lines[0].cells == (
        "master-1", "10.42.0.11", "control-plane etcd", "yes", "ready", "member", "Ready", "v1.36.0-kybern",
    )  # fmt: skip
    assert found.lines[1].etcd == "leader"
    assert found.lines[3].cells[3:6] == ("yes", "-", "-")
    assert found.notes == (
        "kube-controller-manager is led by master-3",
        "kube-scheduler is led by master-3",
        "10.42.0.10 is held by master-1",
        "etcd holds 2.5 MB",
        "the next certificate to expire is apiserver of master-1: 200 days",
    )


DOWN: dict[str, Any] = {"answers": False, "etcd": {}, "ready": False, "has_vip": False}
WITHOUT_LEADER = {"header": {"member_id": 11}, "leader": 0}


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        (with_machine("worker-1", answers=False), "degraded", "worker-1: does not answer by SSH"),
        (with_machine("worker-1", failed=("kubelet.service",)), "degraded", "worker-1: not running: kubelet"),
        (with_machine("master-1", ready=False), "degraded", "master-1: its API server is not ready"),
        (with_machine("master-1", etcd={}), "degraded", "master-1: its member of etcd does not take part"),
        (
            with_machine("master-1", etcd=WITHOUT_LEADER),
            "degraded",
            "master-1: its member of etcd does not take part",
        ),
        (with_machine("master-1", **DOWN), "degraded", "master-1: does not answer by SSH"),
        (
            replace(WHOLE, machines={**WHOLE.machines, "master-1": Told(), "master-2": Told()}),
            "down",
            "etcd has no quorum: 1 of 3 members answer",
        ),
        (replace(WHOLE, nodes=None), "down", "the API does not answer at 10.42.0.10:6443"),
        (replace(WHOLE, nodes=WHOLE.nodes[1:] if WHOLE.nodes else ()), "degraded", "master-1: it is no node"),
        (
            replace(WHOLE, nodes=(node("master-1", ready="Unknown"), *(WHOLE.nodes or ())[1:])),
            "degraded",
            "master-1: its node is NotReady",
        ),
        (
            replace(WHOLE, nodes=(node("master-1", waits=True), *(WHOLE.nodes or ())[1:])),
            "degraded",
            "master-1: its node is Ready,Uninitialized",
        ),
        (
            replace(WHOLE, nodes=(node("master-1", cordoned=True), *(WHOLE.nodes or ())[1:])),
            "degraded",
            "master-1: its node is Ready,SchedulingDisabled",
        ),
        (
            replace(WHOLE, nodes=(*(WHOLE.nodes or ()), node("old"))),
            "degraded",
            "node old is not in the topology",
        ),
        (replace(WHOLE, leaders={}), "degraded", "nobody leads kube-scheduler"),
        (
            replace(WHOLE, certificates=(certificate(-1, is_worn=True),)),
            "degraded",
            "expired: the certificate apiserver of master-1",
        ),
        (
            replace(WHOLE, certificates=(certificate(20, is_worn=True),)),
            "degraded",
            "1 certificates expire within 30 days",
        ),
        (replace(WHOLE, certificates=(certificate(20),)), "whole", ""),
    ],
)
def test_what_is_wrong_is_said(seen: Seen, verdict: str, says: str) -> None:
    found = of(seen)

    assert found.verdict == verdict
    assert any(says in each for each in found.wrong) or not says


def test_where_there_is_a_cloud_somebody_has_to_lead_its_loops() -> None:
    clouded = replace(LAB, cloud=LOCAL)

    assert "nobody leads cloud-controller-manager" in standing(clouded, WHOLE, NOW).wrong
    led = replace(WHOLE, leaders={**WHOLE.leaders, "cloud-controller-manager": "master-1_1"})
    assert standing(clouded, led, NOW).wrong == ()


def test_what_is_not_known_is_not_claimed() -> None:
    line = of(replace(with_machine("master-1", **DOWN), nodes=None)).lines[0]

    assert line.cells[3:] == ("no", "?", "?", "?", "-")


def test_an_answer_is_read() -> None:
    status = [{"Endpoint": "https://127.0.0.1:2379", "Status": etcd("master-1")}]
    lines = (
        "a banner",
        "KYBERN failed kubelet.service kube-proxy.service",
        "KYBERN ready ok",
        "KYBERN vip yes",
    )
    text = "\n".join([*lines, f"KYBERN etcd {json.dumps(status)}"])

    assert told(text) == Told(True, ("kubelet.service", "kube-proxy.service"), True, etcd("master-1"), True)
    assert told("KYBERN failed\nKYBERN ready \nKYBERN etcd \n") == Told(answers=True)
    assert told("KYBERN failed\nKYBERN names 0\n") == Told(answers=True, left=0)


def test_a_cache_of_names_that_is_kept_for_pods_of_before_is_told_and_nothing_wrong() -> None:
    found = of(with_machine("worker-1", left=3))

    assert (found.verdict, found.wrong) == ("whole", ())
    assert found.notes[-1].startswith("worker-1 keeps its cache of names for 3 pods that were told of it")
    assert "the next deploy removes it" in of(with_machine("worker-2", left=0)).notes[-1]


def test_machines_are_asked_for_a_cache_only_where_none_is_wanted() -> None:
    worker = LAB.machines[-1]

    assert "KYBERN names" in question(LAB, worker)
    assert "KYBERN names" not in question(replace(LAB, node_local_dns=True), worker)


def test_a_machine_is_asked_what_its_roles_have() -> None:
    master, worker = LAB.machines[0], LAB.workers[0]

    assert "etcd.service" in units(LAB, master)
    assert "kubelet.service" in units(LAB, master)
    assert "etcd.service" not in units(LAB, worker)
    assert "etcdctl" in question(LAB, master)
    assert "readyz" not in question(LAB, worker)


def test_a_full_disk_of_etcd_is_told() -> None:
    assert of(with_machine("master-1", free=3)).wrong == (
        "master-1: the disk of etcd is full (3 MiB free): make space below /var/lib/etcd",
    )
    assert of(with_machine("master-1", free=3)).verdict == "degraded"
    assert of(with_machine("master-1", free=4000)).wrong == ()
    assert told("KYBERN free 17\n").free == 17


def test_an_alarm_of_etcd_and_a_nearly_used_quota_are_told_with_their_remedy() -> None:
    alarm = with_machine(
        "master-2", etcd=etcd("master-2", errors=["memberID:12 alarm:NOSPACE ", "memberID:13 alarm:NOSPACE "])
    )
    full = with_machine("master-1", etcd=etcd("master-1", dbSize=LAB.etcd_quota * 2**20 * 0.9))

    assert of(alarm).wrong == (
        "etcd has raised the alarm NOSPACE: kybern defragment lab, or a larger etcd_quota in the topology and a deploy",
    )
    assert of(alarm).verdict == "degraded"
    assert "takes 90% of its quota of 2048 MiB" in of(full).wrong[0]
