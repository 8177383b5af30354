"""Ports on which load balancers outside ask for the endpoints of this node."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from kybern.api.core_v1 import ObjectReference
from kybern.proxy.health_ports import HealthPorts, wanted
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.places import Places, local_addresses, within
from kybern.proxy.rules import PRIMARY, Settings

HERE, THERE = Endpoint("10.244.1.2", 80, local=True), Endpoint("10.244.2.2", 80)
KEY = ("default", "web")


def service(port: int, *endpoints: Endpoint) -> dict[tuple[str, str], tuple[ServicePort, ...]]:
    one = ServicePort(
        "default", "web", "http", "TCP", 80, "10.96.0.1", health_check_port=port, endpoints=endpoints
    )
    return {KEY: (one, replace(one, name="https", port=443))}


def test_pods_count_once_however_many_ports_they_have() -> None:
    assert wanted(service(31000, HERE, THERE))[31000].endpoints == 1
    assert wanted(service(0, HERE)) == {}


def test_pods_that_end_do_not_count_though_they_serve() -> None:
    """Upstream's "should fail health check node port if there are only terminating endpoints"."""
    ending = replace(HERE, ready=False, serving=True, terminating=True)

    assert wanted(service(31000, ending))[31000].endpoints == 0
    assert wanted(service(31000, ending, replace(HERE, ip="10.244.1.3")))[31000].endpoints == 1


@pytest.fixture
async def told() -> AsyncIterator[tuple[HealthPorts, list[tuple[Any, ...]]]]:
    events: list[tuple[Any, ...]] = []
    ports = HealthPorts("n1", lambda *event: events.append(event), lambda: True, Places(Settings(""), tuple))
    yield ports, events
    await ports.close()


async def ask(port: int) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
        found = await answer.json()
        # Balancers that weigh their nodes read the count there.
        assert answer.headers["X-Load-Balancing-Endpoint-Weight"] == str(found["localEndpoints"])
        return answer.status, found


async def test_it_answers_by_the_endpoints_of_this_node(
    told: tuple[HealthPorts, list[tuple[Any, ...]]], unused_tcp_port: int
) -> None:
    ports, _ = told
    await ports.serve(service(unused_tcp_port, HERE))
    with_one = await ask(unused_tcp_port)
    await ports.serve(service(unused_tcp_port, THERE))
    without = await ask(unused_tcp_port)
    ports.is_healthy = lambda: False
    await ports.serve(service(unused_tcp_port, HERE))
    late = await ask(unused_tcp_port)
    await ports.serve({})

    said = {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 1,
        "serviceProxyHealthy": True,
    }
    assert with_one == (200, said)
    assert without == (503, said | {"localEndpoints": 0})
    assert late == (503, said | {"serviceProxyHealthy": False})
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(unused_tcp_port)


async def test_a_port_that_is_taken_is_told_once(told: tuple[HealthPorts, list[tuple[Any, ...]]]) -> None:
    ports, events = told
    with socket.create_server(("0.0.0.0", 0)) as other:
        for _ in range(2):
            await ports.serve(service(other.getsockname()[1], HERE))

    ((about, kind, reason, said),) = events
    assert isinstance(about, ObjectReference)
    assert (about.name, kind, reason) == ("web", "Warning", "FailedToStartServiceHealthcheck")
    assert 'node n1 failed to start healthcheck "default/web" on port' in said


LOCAL = ("127.0.0.1", "127.0.0.2", "::1", "192.0.2.7", "fd00::7")


@pytest.mark.parametrize(
    ("networks", "addresses"),
    [
        (("192.0.2.0/24", "fd00::/64"), ("192.0.2.7", "fd00::7")),
        (("192.0.2.0/24",), ("192.0.2.7", "::")),
        (("fd00::7/128",), ("0.0.0.0", "fd00::7")),
        ((PRIMARY,), ("192.0.2.7", "fd00::7")),
        ((PRIMARY, "127.0.0.0/31"), ("127.0.0.1", "192.0.2.7", "fd00::7")),
        (("198.51.100.0/24", "fd01::/64"), ()),
        (("0.0.0.0/0", "fd00::/64"), ("0.0.0.0", "fd00::7")),
    ],
)
def test_ports_are_where_node_ports_are(networks: tuple[str, ...], addresses: tuple[str, ...]) -> None:
    told = ("192.0.2.7", "192.0.2.8", "fd00::7")
    settings = Settings("10.244.0.0/16", networks, pod_cidr6="fd00:244::/56", node_addresses=told)

    assert within(settings, LOCAL) == addresses
    alone = replace(settings, pod_cidr6="")
    assert within(alone, LOCAL) == tuple(one for one in addresses if ":" not in one), (
        "the other is not served"
    )


async def test_the_node_s_own_addresses_are_found() -> None:
    assert "127.0.0.1" in await local_addresses()


async def test_a_port_moves_with_the_addresses_that_it_is_for(unused_tcp_port: int) -> None:
    here = ["127.0.0.2"]

    async def local() -> tuple[str, ...]:
        return tuple(here)

    places = Places(Settings("10.244.0.0/16", ("127.0.0.0/8",)), tuple, local)
    ports = HealthPorts("n1", lambda *_: None, lambda: True, places)

    async def answering() -> set[str]:
        found = set()
        async with aiohttp.ClientSession() as session:
            for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                try:
                    async with session.get(f"http://{address}:{unused_tcp_port}/") as answer:
                        assert answer.status == 200
                        found.add(address)
                except aiohttp.ClientConnectorError:
                    continue
        return found

    try:
        await ports.serve(service(unused_tcp_port, HERE))
        assert await answering() == {"127.0.0.2"}
        here[:] = ["127.0.0.2", "127.0.0.3"]
        await ports.serve(service(unused_tcp_port, HERE))
        assert await answering() == {"127.0.0.2", "127.0.0.3"}
        here.clear()
        await ports.serve(service(unused_tcp_port, HERE))
        assert await answering() == set()
    finally:
        await ports.close()
