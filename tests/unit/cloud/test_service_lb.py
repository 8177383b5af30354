"""Balancers: what is asked of the cloud, told and written, by what a service wants."""

from typing import Any

import pytest

from kybern.api.core_v1 import LoadBalancerIngress, Node, Service
from kybern.cloud.errands import DeleteBalancer, UpdateBalancer
from kybern.cloud.marks import EXCLUDED, TO_BE_DELETED
from kybern.cloud.service_lb import (
    FINALIZER,
    Ensure,
    Ensured,
    Memory,
    State,
    Update,
    controller,
    diff,
    made_of,
    observe,
    takes_traffic,
)
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import Action, Emit, Failure, Key, Send, WhenChanged
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import replace
from tests.unit.cloud.making import INSIDE, FakeCloud, node, service
from tests.unit.controllers.making import NOW, view

CLOUD = FakeCloud()
N1, N2 = node("n1"), node("n2")
HELD = service("LoadBalancer", FINALIZER)
TOLD = service("LoadBalancer", FINALIZER, ingress=[INSIDE])
THERE = (LoadBalancerIngress(ip=INSIDE),)


def ensured(of: Service, *nodes: str) -> Ensured:
    return Ensured(of.metadata.uid, made_of(of), tuple((one, "") for one in nodes), THERE)


def told(
    *, of: Service, nodes: tuple[Node, ...] = (N1,), known: Ensured | None = None, failed: Any = None
) -> list[str]:
    """Actions by their types, events by their reasons, errands by theirs."""
    actions = diff(CLOUD.load_balancers, "lab", Memory(), State(of, nodes, known, failed))
    return [_shown(one) for one in actions]


def _shown(action: Action) -> str:
    match action:
        case Emit(_, kind, reason, _):
            return reason if kind == "Normal" else f"{reason}!"
        case Send(errand):
            return type(errand).__name__
    return type(action).__name__


SHIFTED = replace(HELD, spec=replace(HELD.spec, session_affinity="ClientIP"))
SECOND = replace(HELD, spec=replace(HELD.spec, ip_families=("IPv4", "IPv6")))
CASES = [
    pytest.param(service(), None, ["Patch"], id="the finalizer comes first"),
    pytest.param(HELD, None, ["EnsuringLoadBalancer", "Ensure", "EnsuredLoadBalancer", "Again"], id="then the balancer"),
    pytest.param(HELD, ensured(HELD, "n1"), ["PatchStatus"], id="then the status"),
    pytest.param(TOLD, ensured(HELD, "n1"), [], id="and rest"),
    pytest.param(HELD, ensured(HELD, "n1", "n2"), ["PatchStatus"], id="the status before other nodes"),
    pytest.param(TOLD, ensured(HELD, "n1", "n2"), ["Update", "UpdatedLoadBalancer"], id="other nodes"),
    pytest.param(SHIFTED, ensured(HELD, "n1"), ["EnsuringLoadBalancer", "Ensure", "EnsuredLoadBalancer", "Again"],
                 id="another wish"),
    pytest.param(SECOND, ensured(HELD, "n1"), ["EnsuringLoadBalancer", "Ensure", "EnsuredLoadBalancer", "Again"],
                 id="a second family"),
    pytest.param(service("ClusterIP", FINALIZER, ingress=[INSIDE]), None, ["PatchStatus"], id="no more: status first"),
    pytest.param(service("ClusterIP", FINALIZER), None,
                 ["DeletingLoadBalancer", "DeleteBalancer", "DeletedLoadBalancer", "Patch"], id="then the balancer goes"),
    pytest.param(service("LoadBalancer", FINALIZER, ingress=[INSIDE], deleted=NOW), None,
                 ["DeletingLoadBalancer", "DeleteBalancer", "DeletedLoadBalancer", "Patch"], id="deleted"),
]  # fmt: skip


@pytest.mark.parametrize(("of", "known", "actions"), CASES)
def test_a_balancer_comes_after_the_finalizer_and_goes_before_it(
    of: Service, known: Ensured | None, actions: list[str]
) -> None:
    assert told(of=of, known=known) == actions


def test_that_no_node_takes_traffic_is_told() -> None:
    assert told(of=HELD, nodes=())[1] == "UnAvailableLoadBalancer!"
    assert told(of=TOLD, nodes=(), known=ensured(HELD, "n1")) == ["Update", "UnAvailableLoadBalancer!"]


def test_a_node_whose_provider_id_came_is_told_to_the_balancer() -> None:
    found = (node("n1", provider_id="fake://zone/1"),)
    assert told(of=TOLD, nodes=found, known=ensured(HELD, "n1")) == ["Update", "UpdatedLoadBalancer"]


FAILURES = [
    (Ensure(None, Memory()),  # type: ignore[arg-type]
     "SyncLoadBalancerFailed", "Error syncing load balancer: failed to ensure load balancer: cannot reach it"),
    (DeleteBalancer(CLOUD.load_balancers, "lab", HELD),
     "SyncLoadBalancerFailed", "Error syncing load balancer: failed to delete load balancer: cannot reach it"),
    (Update(UpdateBalancer(CLOUD.load_balancers, "lab", HELD, (N2, N1)), Memory()),
     "UpdateLoadBalancerFailed", "Error updating load balancer with new hosts [n1 n2]: cannot reach it"),
]  # fmt: skip


@pytest.mark.parametrize(("errand", "reason", "text"), FAILURES, ids=["ensure", "delete", "update"])
def test_a_failure_of_the_cloud_is_told_and_tried_again(errand: Any, reason: str, text: str) -> None:
    failed = Failure(Send(errand), ServiceUnavailable("cannot reach it"))
    first, second, *_ = diff(CLOUD.load_balancers, "lab", Memory(), State(HELD, (N1,), None, failed))
    assert first == Emit(HELD, "Warning", reason, text)
    assert isinstance(second, Emit)
    assert second.reason == "EnsuringLoadBalancer"


CLASSED = {"load_balancer_class": "other.example/lb"}


@pytest.mark.parametrize(
    ("found", "ours"),
    [
        (service("LoadBalancer", FINALIZER, **CLASSED), False),
        (service("LoadBalancer", FINALIZER, deleted=NOW, **CLASSED), True),
        (service("ClusterIP", FINALIZER), True),
        (service("ClusterIP"), False),
        (service("LoadBalancer"), True),
    ],
)
def test_whose_services_are_looked_after(found: Service, *, ours: bool) -> None:
    assert (observe(Memory(), view(None, found, kinds=(Node,)), Key("a", "web")) is not None) is ours


@pytest.mark.parametrize(
    ("found", "takes"),
    [
        (node(), True),
        (node(ready="Unknown"), True),
        (node(ready=""), True),
        (node(deleted=NOW), False),
        (node(labels={EXCLUDED: ""}), False),
        (node("n1", TO_BE_DELETED), False),
    ],
)
def test_which_nodes_stand_behind_balancers(found: Node, *, takes: bool) -> None:
    assert takes_traffic(found) is takes


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        (node(ready="False"), False),
        (node("n1", TO_BE_DELETED), False),
        (node(labels={EXCLUDED: ""}), True),
        (node(provider_id="fake://zone/1"), True),
    ],
)
def test_which_changes_of_nodes_are_an_occasion(changed: Node, *, counts: bool) -> None:
    """What passes (a kubelet that is silent, an autoscaler's mark) keeps connections as they are: KEP-3458."""
    ((_, wakes),) = controller(CLOUD.load_balancers, CloudSettings()).watches
    assert isinstance(wakes, WhenChanged)
    assert wakes.is_about(changed, node()) is counts
