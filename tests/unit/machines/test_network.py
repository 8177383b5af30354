from ipaddress import IPv4Network

import pytest

from kybern.machines.network import conflict

OURS = IPv4Network("10.42.0.0/24")


@pytest.mark.parametrize(
    "route",
    [
        {"dst": "10.42.0.0/16", "dev": "eth1"},
        {"dst": "10.42.0.128/25", "dev": "docker0"},
        {"dst": "10.42.0.7", "dev": "eth0"},
        {"type": "blackhole", "dst": "10.0.0.0/8"},
    ],
)
def test_a_route_into_our_network_is_a_conflict(route: dict[str, str]) -> None:
    assert conflict(OURS, [route], "kyb1") == route


@pytest.mark.parametrize(
    "route",
    [
        {"dst": "default", "dev": "eth0"},
        {"dst": "10.43.0.0/24", "dev": "eth0"},
        {"dst": "10.42.0.0/24", "dev": "kyb1"},
    ],
)
def test_other_routes_and_our_own_bridge_are_none(route: dict[str, str]) -> None:
    assert conflict(OURS, [route], "kyb1") is None
