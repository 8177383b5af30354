"""What upstream's e2e suite asks of trafficDistribution (test/e2e/network/traffic_distribution.go), with real packets.

Upstream has three zones of two nodes each; three machines stand for them here, in two arrangements.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.asking import HTTP, ip_of, leads_to
from tests.cluster.conftest import Lab, space
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
NAMESPACE = "services-near"
NODES = ("worker-1", "worker-2", "master-1")
ZONE = "topology.kubernetes.io/zone"


@pytest.fixture(scope="module")
def net(services_lab: Lab) -> Iterator[Place]:
    """An asker on each machine, and servers on the workers."""
    with space(services_lab, NAMESPACE):
        place = Place.made(services_lab, NAMESPACE)
        place.run(
            *(pod(f"asker-{node}", node) for node in NODES),
            *(server(f"on-{node}", node, labels={"app": "near"}) for node in NODES[:2]),
        )
        yield place


@contextmanager
def zones(lab: Lab, *names: str) -> Iterator[None]:
    """The machines' zones, in their order."""
    try:
        for node, zone in zip(NODES, names, strict=True):
            lab.kubectl("label", "node", node, f"{ZONE}={zone}", "--overwrite")
        yield
    finally:
        lab.kubectl("label", "nodes", *NODES, f"{ZONE}-")


def preferring(name: str, what: str) -> dict[str, Any]:
    return service(name, HTTP, selector={"app": "near"}, trafficDistribution=what)


def go(net: Place, name: str, **wanted: tuple[str, ...]) -> None:
    """From each machine, whose name has underscores here, to those servers and no others."""
    for node, targets in wanted.items():
        net.answers(
            f"asker-{node.replace('_', '-')}", set(targets), "http", f"{ip_of(net, name)}:80/hostname", 20
        )


@pytest.mark.parametrize("what", ["PreferClose", "PreferSameZone"])
def test_who_has_servers_in_the_zone_asks_no_others(net: Place, what: str) -> None:
    name = what.lower()
    net.apply(preferring(name, what))
    one, two = "on-worker-1", "on-worker-2"
    with zones(net.lab, "a", "b", "c"):
        go(net, name, worker_1=(one,), worker_2=(two,), master_1=(one, two))
    # Several nodes in a zone: with a server each, and with one for both.
    with zones(net.lab, "a", "a", "c"):
        go(net, name, worker_1=(one, two), worker_2=(one, two), master_1=(one, two))
    with zones(net.lab, "a", "b", "b"):
        go(net, name, worker_1=(one,), worker_2=(two,), master_1=(two,))


def test_who_has_a_server_on_the_node_asks_no_others_and_else_those_of_the_zone(net: Place) -> None:
    name = "prefersamenode"
    net.apply(preferring(name, "PreferSameNode"))
    one, two = "on-worker-1", "on-worker-2"
    with zones(net.lab, "a", "a", "c"):
        go(net, name, worker_1=(one,), worker_2=(two,), master_1=(one, two))
    with zones(net.lab, "a", "b", "b"):
        go(net, name, worker_1=(one,), worker_2=(two,), master_1=(two,))


def test_who_loses_the_server_on_the_node_asks_others_until_there_is_one_again(net: Place) -> None:
    def made(at: int) -> dict[str, Any]:
        return server(f"own-{at}", f"worker-{at}", labels={"app": "own"})

    net.run(made(1), made(2))
    net.apply(service("own", HTTP, selector={"app": "own"}, trafficDistribution="PreferSameNode"))
    go(net, "own", worker_1=("own-1",), worker_2=("own-2",))

    net.kubectl("delete", "pod", "own-1")
    leads_to(net, "own", {"own-2": {8080}})
    go(net, "own", worker_1=("own-2",), worker_2=("own-2",))

    net.run(made(1))
    leads_to(net, "own", {"own-1": {8080}, "own-2": {8080}})
    go(net, "own", worker_1=("own-1",), worker_2=("own-2",))
