"""What Services hold, against what has been given to them."""

import ipaddress
from typing import Any

import pytest

from kybern.apiserver.services.discrepancies import Address, held_by, of_address, of_ports

RANGES = [ipaddress.ip_network("10.96.0.0/24"), ipaddress.ip_network("fd00:96::/112")]
LABELS = {
    "ipaddress.kubernetes.io/ip-family": "IPv4",
    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
}
FOUR = "10.96.0.5"


def service(name: str, *ips: str, ports: tuple[int, ...] = (), **spec: Any) -> dict[str, Any]:
    listed = [{"port": 80, "nodePort": port} for port in ports]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIPs": list(ips), "ports": listed, **spec},
    }


def given(name: str = "a", resource: str = "services", **labels: str) -> dict[str, Any]:
    parent = {"group": "", "resource": resource, "namespace": "default", "name": name}
    return {"metadata": {"name": FOUR, "labels": labels or LABELS}, "spec": {"parentRef": parent}}


def found(there: dict[str, Any] | None, *others: dict[str, Any], ip: str = FOUR) -> Address | None:
    mine = service("a", ip)
    return of_address(mine, ip, there, held_by([mine, *others]), RANGES)


WRONG = f"the ClusterIP [IPv4]: {FOUR} for Service default/a has a wrong reference; repairing"


@pytest.mark.parametrize(
    ("there", "others", "wanted"),
    [
        (None, [], f"Cluster IP [IPv4]: {FOUR} is not allocated; repairing"),
        (given("gone"), [], WRONG),
        (given("b"), [service("b", "10.96.0.6")], WRONG),
        (given(resource="gateways"), [], WRONG),
    ],
)
def test_an_address_that_is_another_s_or_nobody_s_is_given_again(
    there: dict[str, Any] | None, others: list[dict[str, Any]], wanted: str
) -> None:
    seen = found(there, *others)

    assert seen is not None
    assert seen.told is not None
    assert (seen.repaired, seen.told.reason, seen.told.message) == (True, "ClusterIPNotAllocated", wanted)


def test_an_address_that_has_lost_its_labels_is_given_again_without_a_word() -> None:
    assert found(given(a="b")) == Address(None, repaired=True)
    assert found(given()) is None


def test_two_services_of_one_address_are_left_to_their_writer() -> None:
    seen = found(given("b"), service("b", FOUR))

    assert seen is not None
    assert seen.told is not None
    assert (seen.repaired, seen.told.reason) == (False, "ClusterIPAlreadyAllocated")
    assert "[IPv4]:10.96.0.5 was assigned to multiple services" in seen.told.message


def test_an_address_of_no_range_is_left_to_its_writer() -> None:
    seen = found(None, ip="fd00:97::1")

    assert seen is not None
    assert seen.told is not None
    assert (seen.repaired, seen.told.reason) == (False, "ClusterIPOutOfRange")
    assert "[IPv6]: fd00:97::1 is not within any configured Service CIDR" in seen.told.message


def test_ports_are_compared_the_one_for_health_with_them() -> None:
    listed = [
        service("a", ports=(30000, 30001)),
        service("b", ports=(30001, 40000), healthCheckNodePort=30002),
    ]

    seen = [
        (one.service["metadata"]["name"], one.port, one.told.reason, one.repaired)
        for one in of_ports(listed, {30000, 30001}, 30000, 30003)
    ]

    assert seen == [
        ("b", 30001, "PortAlreadyAllocated", False),
        ("b", 40000, "PortOutOfRange", False),
        ("b", 30002, "PortNotAllocated", True),
    ]
