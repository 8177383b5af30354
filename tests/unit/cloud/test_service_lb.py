"""Balancers: what is asked of the cloud, told and written, by what a service wants."""

from typing import Any

import pytest

from kybern.api.core_v1 import LoadBalancerIngress, Node, Service
from kybern.cloud.marks import EXCLUDED, TO_BE_DELETED
from kybern.cloud.service_lb import FINALIZER, Ensure, Ensured, Memory, State, diff, made_of, takes_traffic
from kybern.loop.controller import Action, Emit, Failure, Send
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import replace
from tests.unit.cloud.making import INSIDE, FakeCloud, node, service
from tests.unit.controllers.making import NOW

CLOUD = FakeCloud()
N1, N2 = node("n1"), node("n2")
HELD = service("LoadBalancer", FINALIZER)
THERE = (LoadBalancerIngress(ip=INSIDE),)


def ensured(of: Service, *nodes: str) -> Ensured:
    return Ensured(of.metadata.uid, made_of(of), nodes, THERE)


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
CASES = [
    pytest.param(service(), None, ["Patch"], id="the finalizer comes first"),
    pytest.param(HELD, None, ["EnsuringLoadBalancer", "Ensure", "EnsuredLoadBalancer", "Again"], id="then the balancer"),
    pytest.param(HELD, ensured(HELD, "n1"), ["PatchStatus"], id="then the status"),
    pytest.param(service("LoadBalancer", FINALIZER, ingress=[INSIDE]), ensured(HELD, "n1"), [], id="and rest"),
    pytest.param(HELD, ensured(HELD, "n1", "n2"), ["Update", "UpdatedLoadBalancer"], id="other nodes"),
    pytest.param(SHIFTED, ensured(HELD, "n1"), ["EnsuringLoadBalancer", "Ensure", "EnsuredLoadBalancer", "Again"],
                 id="another wish"),
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
    assert told(of=HELD, nodes=(), known=ensured(HELD, "n1")) == ["Update", "UnAvailableLoadBalancer!"]


def test_a_failure_of_the_cloud_is_told_and_tried_again() -> None:
    failed = Failure(Send(Ensure(None, Memory())), ServiceUnavailable("cannot reach it"))  # type: ignore[arg-type]
    assert told(of=HELD, failed=failed)[:2] == ["SyncLoadBalancerFailed!", "EnsuringLoadBalancer"]


@pytest.mark.parametrize(
    ("found", "takes"),
    [
        (node(), True),
        (node(ready="Unknown"), False),
        (node(ready=""), False),
        (node(labels={EXCLUDED: ""}), False),
        (node("n1", TO_BE_DELETED), False),
    ],
)
def test_which_nodes_stand_behind_balancers(found: Node, *, takes: bool) -> None:
    assert takes_traffic(found) is takes
