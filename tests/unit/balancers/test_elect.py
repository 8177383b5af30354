"""Who announces which address."""

from ipaddress import ip_address

import pytest

from kybern.api.discovery_v1 import EndpointConditions
from kybern.balancers.elect import announced, mine, winner
from tests.unit.balancers.making import node, service, slice_of

NODES = [node(name) for name in ("n1", "n2", "n3")]
ADDRESSES = [ip_address(f"10.0.{high}.{low}") for high in range(4) for low in range(100)]
READY = EndpointConditions(ready=True)
ENDING = EndpointConditions(ready=False, serving=True, terminating=True)
SICK = EndpointConditions(ready=False, serving=False)


def test_exactly_one_node_announces_an_address_and_all_have_their_share() -> None:
    told = announced([service(f"s{n}", str(one)) for n, one in enumerate(ADDRESSES)], NODES, {})
    alive = {"n1", "n2", "n3"}

    shares = [set(mine(told, alive, alive, name)) for name in sorted(alive)]

    assert sum(len(one) for one in shares) == len(ADDRESSES)
    assert set().union(*shares) == set(ADDRESSES)
    assert min(len(one) for one in shares) > len(ADDRESSES) / 5


def test_a_node_that_goes_moves_only_its_own_addresses() -> None:
    before = {one: winner(one, ("n1", "n2", "n3")) for one in ADDRESSES}
    after = {one: winner(one, ("n1", "n3")) for one in ADDRESSES}

    assert {one for one in ADDRESSES if before[one] != after[one]} == {
        one for one in ADDRESSES if before[one] == "n2"
    }


@pytest.mark.parametrize(
    "out",
    [
        node("n2", "Unknown"),
        node("n2", "False"),
        node("n2", **{"node.kubernetes.io__exclude-from-external-load-balancers": ""}),
    ],
    ids=["silent", "not ready", "excluded"],
)
def test_a_node_that_is_out_announces_nothing(out: object) -> None:
    (told,) = announced([service("x", "10.0.0.1")], [NODES[0], out, NODES[2]], {})  # type: ignore[list-item]

    assert told.nodes == {"n1", "n3"}


@pytest.mark.parametrize(
    ("endpoints", "nodes"),
    [
        ([("n1", READY), ("n2", ENDING), ("n3", SICK)], {"n1"}),
        ([("n2", ENDING), ("n3", SICK)], {"n2"}),
        ([("n2", EndpointConditions())], {"n2"}),
        ([("gone", READY)], set()),
        ([], set()),
    ],
)
def test_a_local_service_is_announced_where_its_endpoints_are(
    endpoints: list[tuple[str, EndpointConditions]], nodes: set[str]
) -> None:
    local = service("x", "10.0.0.1", external_traffic_policy="Local")

    (told,) = announced([local], NODES, {("a", "x"): [slice_of("x", *endpoints)]})

    assert told.nodes == nodes


def test_an_address_of_two_services_has_one_announcer() -> None:
    both = [service("x", "10.0.0.1"), service("y", "10.0.0.1")]

    told = announced(both, NODES, {})

    assert [one.services for one in told] == [(("a", "x"), ("a", "y"))]


def test_the_dead_and_others_services_are_left_out() -> None:
    told = announced([service("x", "10.0.0.1"), service("y", "10.0.0.2", type="ClusterIP")], NODES, {})
    owner = winner(ip_address("10.0.0.1"), ("n1", "n2", "n3"))
    others = {"n1", "n2", "n3"} - {owner}

    assert mine(told, others, others, owner) == {}
    assert sum(bool(mine(told, others, others, name)) for name in others) == 1


ALIVE = {"n1", "n2", "n3"}


@pytest.mark.parametrize(
    ("leading", "announcers"),
    [
        (ALIVE, ALIVE),
        ({"n2", "n3"}, {"n2", "n3"}),
        ({"n1"}, {"n1"}),
        (set(), ALIVE),  # every kube-proxy is unwell: the kernels have the rules that they had
    ],
)
def test_nodes_that_do_not_lead_to_pods_stand_back_for_those_that_do(
    leading: set[str], announcers: set[str]
) -> None:
    told = announced([service(f"s{n}", str(one)) for n, one in enumerate(ADDRESSES)], NODES, {})

    shares = {name: set(mine(told, ALIVE, leading, name)) for name in ALIVE}

    assert {name for name, share in shares.items() if share} == announcers
    assert sum(map(len, shares.values())) == len(ADDRESSES)


def test_a_local_service_stays_on_the_only_node_of_its_pods_when_that_one_is_unwell() -> None:
    local = service("x", "10.0.0.1", external_traffic_policy="Local")
    told = announced([local], NODES, {("a", "x"): [slice_of("x", ("n1", READY))]})

    assert [name for name in sorted(ALIVE) if mine(told, ALIVE, {"n2", "n3"}, name)] == ["n1"]
