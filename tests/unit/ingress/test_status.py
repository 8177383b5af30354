"""Which addresses the status of an Ingress has."""

import pytest

from kybern.api.core_v1 import Node, NodeAddress, NodeCondition, NodeStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.networking_v1 import (
    Ingress,
    IngressLoadBalancerIngress,
    IngressLoadBalancerStatus,
    IngressStatus,
)
from kybern.ingress.status import State, diff, serving
from kybern.loop.controller import PatchStatus
from kybern.machinery.struct import replace
from tests.unit.ingress.making import ingress

PUBLISHED = ("10.0.0.1", "10.0.0.2")


def node(address: str, ready: str = "True") -> Node:
    return Node(
        metadata=ObjectMeta(name=address),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=ready),),
            addresses=(
                NodeAddress(type="InternalIP", address=address),
                NodeAddress(type="Hostname", address="n"),
            ),
        ),
    )


def test_only_ready_machines_that_serve_are_named() -> None:
    nodes = [node("10.0.0.2"), node("10.0.0.1"), node("10.0.0.3")]

    assert serving(nodes, PUBLISHED) == PUBLISHED
    assert serving([nodes[0], node("10.0.0.1", "Unknown")], PUBLISHED) == ("10.0.0.2",)


def with_status(*addresses: str) -> Ingress:
    found = tuple(IngressLoadBalancerIngress(ip=one) for one in addresses)
    return replace(ingress("i"), status=IngressStatus(load_balancer=IngressLoadBalancerStatus(ingress=found)))


@pytest.mark.parametrize(
    ("has", "is_ours", "wanted"),
    [
        ((), True, PUBLISHED),
        (PUBLISHED, True, None),
        (("10.0.0.1",), True, PUBLISHED),
        (PUBLISHED, False, ()),
        ((), False, None),
        (("203.0.113.1",), False, None),
    ],
)
def test_a_status_is_written_when_it_differs_and_is_ours(
    has: tuple[str, ...], *, is_ours: bool, wanted: tuple[str, ...] | None
) -> None:
    actions = list(diff(PUBLISHED, State(with_status(*has), is_ours, PUBLISHED)))

    written = [one.new for one in actions if isinstance(one, PatchStatus) and isinstance(one.new, Ingress)]
    told = [
        tuple(one.ip for one in (ing.status.load_balancer or IngressLoadBalancerStatus()).ingress)
        for ing in written
    ]
    assert told == ([] if wanted is None else [wanted])
