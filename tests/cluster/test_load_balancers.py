"""Services of type LoadBalancer, asked by the test's own host: it is on the machines' network and no part of the cluster."""

import time
import urllib.error
import urllib.request
from functools import partial
from ipaddress import ip_address

import pytest

from kybern.machinery.pools import parse_range
from tests.cluster.conftest import TOPOLOGY, Lab
from tests.cluster.pods import Place, server, service

WORKERS = ("worker-1", "worker-2")
# The machines are here: whatever proxy this host uses for the world knows nothing of them.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def place(lab: Lab, namespace: str) -> Place:
    return Place.made(lab, namespace)


def balancer(name: str, **more: object) -> dict[str, object]:
    annotations = more.pop("annotations", {})
    port = more.pop("port", 80)
    made = service(
        name, {"port": port, "targetPort": 8080}, type="LoadBalancer", selector={"app": "x"}, **more
    )
    return {**made, "metadata": {**made["metadata"], "annotations": annotations}}


def address(place: Place, name: str) -> str:
    def found() -> str:
        status = place.get("service", name)["status"]["loadBalancer"]
        assert all(one["ipMode"] == "VIP" for one in status.get("ingress", []))
        return str(status["ingress"][0]["ip"]) if status.get("ingress") else ""

    return str(place.lab.eventually("it has an address", found, seconds=20))


def announcer(place: Place, name: str) -> str:
    """The node that took the address last."""

    def found() -> str:
        told = [
            one
            for one in place.get("events")["items"]
            if one["reason"] == "AddressAnnounced" and one["involvedObject"]["name"] == name
        ]
        told.sort(key=lambda one: one["lastTimestamp"])
        return told[-1]["message"].rpartition(" ")[2] if told else ""

    return str(place.lab.eventually("a node announces it", found, seconds=20))


def is_announced_by(place: Place, name: str, node: str) -> bool:
    return announcer(place, name) == node


def fetch(where: str, seconds: float = 1.0) -> str:
    """The body of the answer; "" when there is none in time."""
    try:
        with DIRECT.open(f"http://{where}/hostname", timeout=seconds) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return ""


def test_a_service_is_reached_at_an_address_of_the_pool(lab: Lab, place: Place) -> None:
    place.run(server("web", "worker-1", labels={"app": "x"}))
    place.apply(balancer("web"))

    found = address(place, "web")

    (ranges,) = (texts for name, texts in lab.cluster.load_balancer if name == "default")
    assert any(ip_address(found) in parse_range(text) for text in ranges)
    lab.eventually("it answers", lambda: fetch(found), seconds=20)
    place.kubectl("patch", "service", "web", "-p", '{"spec": {"type": "ClusterIP"}}')
    lab.eventually(
        "the address is given back", lambda: not place.get("service", "web")["status"]["loadBalancer"]
    )


def test_two_services_share_an_address_when_both_say_so(lab: Lab, place: Place) -> None:
    share = {"kybern.io/share-address": "web"}
    place.run(server("web", "worker-1", labels={"app": "x"}))
    place.apply(balancer("one", annotations=share), balancer("two", annotations=share, port=81))

    found = address(place, "one")

    assert address(place, "two") == found
    for port in (80, 81):
        lab.eventually(f"port {port} answers", partial(fetch, f"{found}:{port}"), seconds=20)


def test_a_local_service_is_announced_where_its_pod_is(lab: Lab, place: Place) -> None:
    for name in WORKERS:
        place.run(server("web", name, labels={"app": "x"}))
        place.apply(balancer("web", externalTrafficPolicy="Local"))
        found = address(place, "web")
        lab.eventually("its node announces it", partial(is_announced_by, place, "web", name), seconds=20)
        lab.eventually("it answers", partial(fetch, found), seconds=20)
        place.kubectl("delete", "pod", "web", "--wait=true")


def test_another_node_takes_over_within_five_seconds_when_the_announcer_loses_its_power(
    lab: Lab, place: Place
) -> None:
    place.apply(balancer("web"))
    found = address(place, "web")
    victim = announcer(place, "web")
    # A pod that goes with its node is another matter.
    place.run(server("web", next(name for name in WORKERS if name != victim), labels={"app": "x"}))
    lab.eventually("it answers", lambda: fetch(found), seconds=20)

    lab.kybern("machines", "kill", TOPOLOGY, victim)
    try:
        began = time.monotonic()
        lab.eventually("it answers again", lambda: fetch(found, 0.3), seconds=30)
        silent = time.monotonic() - began
    finally:
        lab.start(victim)

    print(f"{victim} lost its power; the address was silent for {silent:.1f} s")  # noqa: T201
    assert silent < 5
