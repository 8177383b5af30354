"""Routes: what is made and taken away, by what nodes have and the cloud lists."""

from typing import Any

import pytest

from kybern.api.core_v1 import Node, NodeCondition
from kybern.cloud.errands import CreateRoute, DeleteRoute
from kybern.cloud.node_route import Change, Listing, State, diff
from kybern.cloud.provider import Route
from kybern.loop.controller import Emit, Failure, PatchStatus, Send
from kybern.machinery.errors import ServiceUnavailable
from tests.unit.cloud.making import FakeCloud, node
from tests.unit.controllers.making import NOW

ROUTES = FakeCloud().routes
OPEN = NodeCondition(type="NetworkUnavailable", status="False")
CIDR = "10.244.1.0/24"
RIGHT = Route("n1", CIDR, ("10.0.0.1",))
DONE = node(cidrs=(CIDR,), conditions=(OPEN,))
NEW = node(cidrs=(CIDR,))


def shown(state: State) -> list[str]:
    found = []
    for one in diff(ROUTES, "lab", Listing(), state):
        match one:
            case Send(Change(CreateRoute(_, _, route), _)):
                found.append(f"+{route.destination}")
            case Send(Change(DeleteRoute(_, _, route), _)):
                found.append(f"-{route.destination}")
            case Emit():
                found.append(one.reason)
            case PatchStatus(_, new):
                assert isinstance(new, Node)
                found.append(f"={new.status.conditions[-1].status}")
    return found


CASES = [
    pytest.param(NEW, (), (), [f"+{CIDR}", "=False"], id="new"),
    pytest.param(DONE, (RIGHT,), (), [], id="done"),
    pytest.param(NEW, (RIGHT,), (), ["=False"], id="told by nobody yet"),
    pytest.param(DONE, (Route("n1", CIDR),), (), [], id="the cloud does not say by which address"),
    pytest.param(
        DONE, (Route("n1", CIDR, ("10.0.0.7",)),), (), [f"-{CIDR}", f"+{CIDR}"], id="another address"
    ),
    pytest.param(DONE, (RIGHT, Route("n1", "10.244.9.0/24")), (), ["-10.244.9.0/24"], id="another range"),
    pytest.param(
        DONE, (RIGHT,), (Route("n9", "10.244.9.0/24"),), ["-10.244.9.0/24"], id="of a node that is gone"
    ),
    pytest.param(None, (), (Route("n1", CIDR),), [f"-{CIDR}"], id="gone"),
]


@pytest.mark.parametrize(("found", "routes", "surplus", "changes"), CASES)
def test_routes_follow_the_nodes(
    found: Node | None, routes: tuple[Route, ...], surplus: tuple[Route, ...], changes: list[str]
) -> None:
    assert shown(State(found, routes, surplus, NOW)) == changes


@pytest.mark.parametrize(("found", "said"), [(NEW, ["=True"]), (DONE, ["=True"])])
def test_a_route_that_cannot_be_made_is_told_and_tried_again(found: Node, said: list[str]) -> None:
    errand: Any = Change(CreateRoute(ROUTES, "lab", RIGHT), Listing())
    failed = Failure(Send(errand), ServiceUnavailable("cannot reach it"))
    assert shown(State(found, (), (), NOW, failed)) == ["FailedToCreateRoute", *said, f"+{CIDR}"]
