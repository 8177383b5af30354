"""Node ports: which of a Service's ports share one, and which are chosen by whom."""

from typing import Any

import pytest

from kybern.apiserver.services.nodeports import HEALTH, wanted


def port(number: int, node_port: int = 0, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol, **({"nodePort": node_port} if node_port else {})}


def spec(*ports: dict[str, Any], kind: str = "NodePort", **more: Any) -> dict[str, Any]:
    return {"type": kind, "ports": list(ports), **more}


def at(number: int) -> str:
    return f"spec.ports[{number}].nodePort"


def test_ports_of_one_number_share_a_new_service_s_node_port() -> None:
    found = wanted(spec(port(53), port(80), port(53, protocol="UDP")), None)

    assert [[one["protocol"] for one in group] for group in found.open] == [["TCP", "UDP"], ["TCP"]]
    assert found.chosen == []


def test_a_node_port_that_is_chosen_for_one_is_for_those_of_its_number_too() -> None:
    made = spec(port(53), port(53, 30053, "UDP"), port(53, 30054, "SCTP"))

    found = wanted(made, None)

    assert [one["nodePort"] for one in made["ports"]] == [30053, 30053, 30054]
    assert found.chosen == [(30053, at(0)), (30054, at(2))]
    assert found.open == []


def test_two_ports_of_a_new_service_that_choose_the_same_are_both_asked_for() -> None:
    found = wanted(spec(port(53, 30053, "UDP"), port(80, 30053)), None)

    assert found.chosen == [(30053, at(0)), (30053, at(1))]


def test_a_port_that_comes_later_has_a_node_port_of_its_own() -> None:
    old = spec(port(80, 30080))

    found = wanted(
        spec(port(80, 30080), port(80, protocol="UDP"), port(81, 30081), port(82, 30081, "UDP")), old
    )

    assert found.open == [[port(80, protocol="UDP")]]
    assert found.chosen == [(30081, at(2))]


def test_a_service_that_becomes_one_with_node_ports_has_one_for_each_protocol() -> None:
    found = wanted(spec(port(80), port(80, protocol="UDP")), spec(port(80), kind="ClusterIP"))

    assert found.open == [[port(80)], [port(80, protocol="UDP")]]


@pytest.mark.parametrize("kind", ["ClusterIP", "ExternalName"])
def test_services_within_the_cluster_have_none(kind: str) -> None:
    found = wanted(spec(port(80), kind=kind), spec(port(80, 30080)))

    assert (found.open, found.chosen, found.health) == ([], [], False)


def test_a_balancer_without_node_ports_has_those_that_it_names() -> None:
    made = spec(port(80), port(81, 30081), kind="LoadBalancer", allocateLoadBalancerNodePorts=False)

    assert (wanted(made, None).open, wanted(made, None).chosen) == ([], [(30081, at(1))])


LOCAL = {"kind": "LoadBalancer", "externalTrafficPolicy": "Local"}


def test_a_health_port_is_given_or_chosen_once() -> None:
    new = spec(port(80, 30080), **LOCAL)
    chosen = {**new, "healthCheckNodePort": 30001}

    assert wanted(new, None).health
    assert wanted(chosen, None).chosen[-1] == (30001, HEALTH)
    assert wanted(chosen, {**new, "externalTrafficPolicy": "Cluster"}).chosen == [(30001, HEALTH)]
    stays = wanted(chosen, chosen)
    assert (stays.health, stays.chosen) == (False, [])
