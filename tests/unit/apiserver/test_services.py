"""Addresses and node ports: given once, given back, never twice."""

import asyncio
import ipaddress
import json
from typing import Any

import pytest

from kybern.apiserver.generic import delete, patch
from kybern.apiserver.generic.patch import MERGE_PATCH
from kybern.apiserver.local import Local
from kybern.apiserver.options import DeleteOptions
from kybern.apiserver.services.addresses import Addresses, further
from kybern.apiserver.services.guard import ServiceGuard
from kybern.apiserver.services.masters import Master, Masters
from kybern.apiserver.services.ports import Exhausted, Ports, Taken
from kybern.apiserver.services.repair import Repair
from kybern.machinery.errors import InternalError, Invalid, NotFound
from kybern.storage.value import decoded

NETWORK = ipaddress.ip_network("10.96.0.0/28")


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


@pytest.fixture
def parts(engine: Any, store: Any) -> tuple[Addresses, Ports]:
    addresses, ports = Addresses(Local(engine), [NETWORK]), Ports(store, 30000, 30003)
    engine.guards = {("", "services"): (ServiceGuard(addresses, ports),)}
    return addresses, ports


async def test_a_service_gets_an_address_of_its_own(make: Any, parts: Any) -> None:
    first, second = await make("services", service("a")), await make("services", service("b"))

    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert first["spec"]["clusterIPs"] == [first["spec"]["clusterIP"]]
    assert ipaddress.ip_address(first["spec"]["clusterIP"]) in NETWORK


async def test_an_address_that_is_taken_is_refused(make: Any, parts: Any) -> None:
    taken = (await make("services", service("a")))["spec"]["clusterIP"]

    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await make("services", service("b", clusterIP=taken))
    with pytest.raises(Invalid, match=r"192\.0\.2\.1: the provided network does not match the current range"):
        await make("services", service("c", clusterIP="192.0.2.1"))
    with pytest.raises(Invalid, match=rf"is not in the valid range\. The range of valid IPs is {NETWORK}"):
        await make("services", service("d", clusterIP=str(NETWORK[0])))


def test_ranges_of_service_cidrs_are_used_while_they_are_ready_and_stay() -> None:
    def cidr(*ranges: str, ready: str = "", going: bool = False) -> dict[str, Any]:
        return {
            "metadata": {"name": "x", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {})},
            "spec": {"cidrs": list(ranges)},
            "status": {"conditions": [{"type": "Ready", "status": ready}] if ready else []},
        }

    listed = [
        cidr("10.1.0.0/24", "fd01::/112", ready="True"), cidr("10.2.0.0/24"), cidr("10.3.0.0/24", ready="False"),
        cidr("10.4.0.0/24", ready="True", going=True), {"metadata": {"name": "bare"}},
    ]  # fmt: skip

    assert [str(one) for one in further(listed, {4})] == ["10.1.0.0/24", "10.2.0.0/24"]
    assert [str(one) for one in further(listed, {4, 6})] == ["10.1.0.0/24", "fd01::/112", "10.2.0.0/24"]


async def test_a_service_cidr_gives_addresses_to_those_who_ask_and_when_the_first_range_is_full(
    make: Any, parts: Any
) -> None:
    made = {"metadata": {"name": "more"}}
    await make(
        "servicecidrs", made | {"spec": {"cidrs": ["10.77.0.0/28"]}}, group="networking.k8s.io", namespace=""
    )

    asked = await make("services", service("asks", clusterIP="10.77.0.5"))
    others = [await make("services", service(f"s{at}")) for at in range(NETWORK.num_addresses - 2 + 3)]

    assert asked["spec"]["clusterIPs"] == ["10.77.0.5"]
    given = [ipaddress.ip_address(one["spec"]["clusterIP"]) for one in others]
    assert sum(one in NETWORK for one in given) == NETWORK.num_addresses - 2
    assert sum(one in ipaddress.ip_network("10.77.0.0/28") for one in given) == 3


async def test_two_servers_never_give_the_same_address(make: Any, parts: Any) -> None:
    made = await asyncio.gather(*(make("services", service(f"s{at}")) for at in range(14)))

    assert len({found["spec"]["clusterIP"] for found in made}) == 14


async def test_a_service_that_goes_gives_back_what_it_had(make: Any, call: Any, parts: Any) -> None:
    _, ports = parts
    made = await make("services", service("a", type="NodePort"))
    await delete.delete(call("services", "a"), DeleteOptions())
    again = await make("services", service("b", clusterIP=made["spec"]["clusterIP"]))

    assert again["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert await ports.taken() == frozenset()


async def test_a_service_that_is_refused_keeps_nothing(make: Any, parts: Any) -> None:
    _, ports = parts
    await make("services", service("a", type="NodePort"))
    before = await ports.taken()

    with pytest.raises(Exception, match="already exists"):
        await make("services", service("a", type="NodePort"))

    assert await ports.taken() == before


async def test_a_headless_service_has_no_address(make: Any, parts: Any) -> None:
    made = await make("services", service("a", clusterIP="None"))

    assert (made["spec"]["clusterIP"], made["spec"]["clusterIPs"]) == ("None", ["None"])


@pytest.fixture
def dual(engine: Any, store: Any) -> Addresses:
    """A cluster of both families."""
    addresses = Addresses(Local(engine), [NETWORK, ipaddress.ip_network("fd00:96::/112")])
    engine.guards = {("", "services"): (ServiceGuard(addresses, Ports(store, 30000, 30003)),)}
    return addresses


async def patched(call: Any, name: str, **spec: Any) -> dict[str, Any]:
    found = await patch.patch_(call("services", name), json.dumps({"spec": spec}).encode(), MERGE_PATCH)
    said: dict[str, Any] = decoded(found.body)["spec"]
    return said


@pytest.mark.parametrize("policy", ["PreferDualStack", "RequireDualStack"])
async def test_a_service_of_both_families_becomes_one_of_the_first_by_its_policy_alone(
    make: Any, call: Any, dual: Addresses, policy: str
) -> None:
    made = (await make("services", service("a")))["spec"]
    assert (made["ipFamilyPolicy"], made["ipFamilies"]) == ("SingleStack", ["IPv4"])

    both = await patched(call, "a", ipFamilyPolicy=policy)
    first, second = both["clusterIPs"]
    assert (first, both["ipFamilies"]) == (made["clusterIP"], ["IPv4", "IPv6"])

    single = await patched(call, "a", ipFamilyPolicy="SingleStack")
    assert (single["clusterIPs"], single["ipFamilies"]) == ([first], ["IPv4"])
    # The second address is free again.
    again = await make("services", service("b", ipFamilyPolicy=policy, clusterIP=second, ipFamilies=["IPv6"]))
    assert again["spec"]["clusterIPs"][0] == second


async def test_two_families_want_a_policy_that_has_two(make: Any, dual: Addresses) -> None:
    both = ["IPv6", "IPv4"]
    with pytest.raises(Invalid, match="when multiple IP families are specified"):
        await make("services", service("a", ipFamilies=both))

    made = (await make("services", service("a", ipFamilies=both, ipFamilyPolicy="RequireDualStack")))["spec"]

    assert (made["ipFamilies"], made["clusterIP"]) == (both, made["clusterIPs"][0])
    assert [ipaddress.ip_address(one).version for one in made["clusterIPs"]] == [6, 4]


async def test_a_headless_service_without_a_selector_is_of_both_families(make: Any, parts: Any) -> None:
    made = (await make("services", service("a", clusterIP="None")))["spec"]

    assert (made["ipFamilyPolicy"], made["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    assert made["clusterIPs"] == ["None"]


async def test_a_health_port_that_is_chosen_is_taken_and_given_back(make: Any, call: Any, parts: Any) -> None:
    _, ports = parts
    asked = service(
        "a",
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=30002,
        allocateLoadBalancerNodePorts=False,
    )
    await make("services", asked)
    assert await ports.taken() == {30002}

    refused = "failed to allocate requested HealthCheck NodePort 30002: provided port is already allocated"
    with pytest.raises(InternalError, match=refused):
        await make("services", {**asked, "metadata": {"name": "b"}})
    with pytest.raises(Invalid, match=r"spec\.ports\[0\]\.nodePort.*provided port is already allocated"):
        await make("services", service("c", type="NodePort", ports=[{"port": 80, "nodePort": 30002}]))
    far = service("d", type="NodePort", ports=[{"port": 80, "nodePort": 40000}])
    with pytest.raises(Invalid, match="40000: provided port is not in the valid range"):
        await make("services", far)
    await delete.delete(call("services", "a"), DeleteOptions())

    assert await ports.taken() == frozenset()


async def test_a_protocol_that_comes_later_has_a_node_port_of_its_own(
    make: Any, call: Any, parts: Any
) -> None:
    both = [{"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]
    shared = (await make("services", service("a", type="NodePort", ports=both)))["spec"]["ports"]
    await make("services", service("b", type="NodePort", ports=both[:1]))

    grown = (await patched(call, "b", ports=both))["ports"]

    assert shared[0]["nodePort"] == shared[1]["nodePort"]
    assert len({shared[0]["nodePort"], *(one["nodePort"] for one in grown)}) == 3


async def test_the_type_decides_on_node_ports(make: Any, call: Any, parts: Any) -> None:
    _, ports = parts
    await make("services", service("a"))
    opened = decoded(
        (await patch.patch_(call("services", "a"), b'{"spec":{"type":"NodePort"}}', MERGE_PATCH)).body
    )
    closed = decoded(
        (await patch.patch_(call("services", "a"), b'{"spec":{"type":"ClusterIP"}}', MERGE_PATCH)).body
    )

    assert 30000 <= opened["spec"]["ports"][0]["nodePort"] <= 30003
    assert "nodePort" not in closed["spec"]["ports"][0]
    assert closed["spec"]["clusterIP"] == opened["spec"]["clusterIP"]
    assert await ports.taken() == frozenset()


async def test_ports_are_given_once_and_run_out(store: Any) -> None:
    ports = Ports(store, 30000, 30003)
    given = await asyncio.gather(*(ports.take((), 1) for _ in range(3)))

    assert len({port for each in given for port in each}) == 3
    with pytest.raises(Taken):
        await ports.take((given[0][0],), 0)
    with pytest.raises(Exhausted):
        await ports.take((), 2)


async def test_what_no_service_holds_is_given_back_at_the_second_look(engine: Any, parts: Any) -> None:
    addresses, ports = parts
    await addresses.take("10.96.0.9", "default", "lost")
    await ports.take((30001,), 0)
    repair = Repair(engine, addresses, ports)

    await repair.look()
    assert await ports.taken() == {30001}
    await repair.look()
    assert await ports.taken() == frozenset()
    assert await Local(engine).get("networking.k8s.io", "ipaddresses", "", "10.96.0.9") is None


async def told(engine: Any) -> list[tuple[str, str]]:
    """Reasons and messages of the events about Services."""
    return sorted((one["reason"], one["message"]) for one in await engine.lookup.list("", "events"))


async def test_an_address_that_somebody_took_from_a_service_is_given_to_it_again(
    engine: Any, make: Any, parts: Any
) -> None:
    local, repair = Local(engine), Repair(engine, *parts)
    lost = (await make("services", service("lost")))["spec"]["clusterIP"]
    bare = (await make("services", service("bare")))["spec"]["clusterIP"]
    await local.delete("networking.k8s.io", "ipaddresses", "", lost)
    there = await local.get("networking.k8s.io", "ipaddresses", "", bare)
    assert there is not None
    await local.update(
        "networking.k8s.io", "ipaddresses", {**there, "metadata": {**there["metadata"], "labels": {}}}
    )

    await repair.look()
    await repair.look()

    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await make("services", service("other", clusterIP=lost))
    again = await local.get("networking.k8s.io", "ipaddresses", "", bare)
    assert again is not None
    assert again["metadata"]["labels"] == there["metadata"]["labels"]
    assert await told(engine) == [
        ("ClusterIPNotAllocated", f"Cluster IP [IPv4]: {lost} is not allocated; repairing")
    ]


async def test_a_port_that_nobody_took_for_a_service_is_taken(engine: Any, make: Any, parts: Any) -> None:
    _, ports = parts
    made = await make("services", service("a", type="NodePort"))
    (number,) = (one["nodePort"] for one in made["spec"]["ports"])
    await ports.release((number,))

    await Repair(engine, *parts).look()

    assert await ports.taken() == {number}
    assert await told(engine) == [("PortNotAllocated", f"Port {number} is not allocated; repairing")]


async def test_what_only_its_writer_can_put_right_is_told_once(
    engine: Any, store: Any, make: Any, parts: Any
) -> None:
    made = await make("services", service("far", type="NodePort"))
    (number,) = (one["nodePort"] for one in made["spec"]["ports"])
    away = Addresses(Local(engine), [ipaddress.ip_network("10.97.0.0/28")])
    repair = Repair(engine, away, Ports(store, 31000, 31003))

    await repair.look()
    await repair.look()

    ip = made["spec"]["clusterIP"]
    assert await told(engine) == [
        (
            "ClusterIPOutOfRange",
            f"Cluster IP [IPv4]: {ip} is not within any configured Service CIDR; please recreate service",
        ),
        (
            "PortOutOfRange",
            f"Port {number} is not within the port range 31000-31003; please recreate service",
        ),
    ]


async def test_the_endpoints_are_those_servers_that_hold_a_lease(engine: Any, store: Any, parts: Any) -> None:
    local = Local(engine)
    masters = [Masters(local, Master(f"192.0.2.{at}", 6443, [NETWORK]), lease=True) for at in (1, 2)]
    for master in masters:
        await master.ensure_service()
        await master._renew()
        await master._publish()

    both: Any = await local.get("", "endpoints", "default", "kubernetes")
    await masters[0]._leave()
    one: Any = await local.get("discovery.k8s.io", "endpointslices", "default", "kubernetes")
    service_of_all: Any = await local.get("", "services", "default", "kubernetes")

    assert [address["ip"] for address in both["subsets"][0]["addresses"]] == ["192.0.2.1", "192.0.2.2"]
    assert [endpoint["addresses"] for endpoint in one["endpoints"]] == [["192.0.2.2"]]
    assert service_of_all["spec"]["clusterIP"] == "10.96.0.1"


async def test_an_absent_service_is_not_found(call: Any) -> None:
    with pytest.raises(NotFound):
        await delete.delete(call("services", "a"), DeleteOptions())
