"""What upstream's e2e suite asks of services whose pods end or are not ready (service.go), with real packets.

A pod ends here for as long as its test lasts: its server, process 1, does not mind the signal. Its readiness is a file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.asking import HTTP, change, ip_of, is_down, leads_to, machine, node_port
from tests.cluster.conftest import Lab, space
from tests.cluster.pods import Place, pod, server, service

pytestmark = pytest.mark.small
NAMESPACE = "services-ending"
GRACE = 300


@pytest.fixture(scope="module")
def net(services_lab: Lab) -> Iterator[Place]:
    """An asker on each worker."""
    with space(services_lab, NAMESPACE):
        place = Place.made(services_lab, NAMESPACE)
        place.run(*(pod(f"asker-{at}", f"worker-{at}") for at in (1, 2)))
        yield place


def lingering(name: str, *, ready: bool = True) -> dict[str, Any]:
    """A server on the first worker that is ready while a file is not there, and ends in its own good time."""
    made = server(name, "worker-1", labels={"app": name}, terminationGracePeriodSeconds=GRACE)
    (container,) = made["spec"]["containers"]
    command = ["sh", "-c", "test ! -e /tmp/unready"] if ready else ["false"]
    container["readinessProbe"] = {"exec": {"command": command}, "periodSeconds": 1}
    return made


@contextmanager
def ending(net: Place, name: str, **spec: Any) -> Iterator[None]:
    """A service whose only pod ends, and whose endpoint has been told to be ending."""
    net.run(lingering(name))
    net.apply(service(name, HTTP, selector={"app": name}, **spec))
    leads_to(net, name, {name: {8080}})
    with gone_afterwards(net, name):
        net.kubectl("delete", "pod", name, "--wait=false")
        yield


@contextmanager
def gone_afterwards(net: Place, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        net.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--ignore-not-found")


def ends(net: Place, name: str) -> None:
    """Until its endpoint is called one that ends and serves."""

    def found() -> bool:
        (part,) = net.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
        (one,) = part["endpoints"]
        return bool(one["conditions"] == {"ready": False, "serving": True, "terminating": True})

    net.lab.eventually(f"{name} ends", found)


def still(net: Place, asker: str, answer: str, where: str) -> None:
    """It answers, and goes on doing so for longer than a change takes to reach every node."""
    net.answers(asker, {answer}, "http", f"{where}/hostname")
    for _ in range(5):
        assert net.ask(asker, "pause", 1, "http", f"{where}/hostname") == [answer]


def test_pods_that_are_not_ready_are_endpoints_where_a_service_says_so(net: Place) -> None:
    name, full = "unready", f"unready.{NAMESPACE}.svc.{net.lab.cluster.cluster_domain}"
    net.apply(
        lingering(name, ready=False),
        service(name, HTTP, selector={"app": name}, publishNotReadyAddresses=True),
    )
    with gone_afterwards(net, name):
        net.answers("asker-2", {name}, "http", f"{full}:80/hostname", seconds=60)

        net.kubectl("delete", "pod", name, "--wait=false")
        change(net, name, publishNotReadyAddresses=False)
        is_down(net, f"{full}:80", "asker-2")
        change(net, name, publishNotReadyAddresses=True)
        net.answers("asker-2", {name}, "http", f"{full}:80/hostname")


@pytest.mark.parametrize("published", [True, False])
def test_a_pod_that_ends_and_is_not_ready_answers_only_where_a_service_says_so(
    net: Place, *, published: bool
) -> None:
    name = f"published-{published}".lower()
    with ending(net, name, type="NodePort", publishNotReadyAddresses=published):
        net.kubectl("exec", name, "--", "touch", "/tmp/unready")

        def unready() -> bool:
            conditions = net.get("pod", name)["status"]["conditions"]
            return any(one["type"] == "Ready" and one["status"] == "False" for one in conditions)

        net.lab.eventually("it is not ready", unready)
        at = [f"{machine(net, f'worker-{one}')}:{node_port(net, name)}" for one in (1, 2)]
        for where in (f"{ip_of(net, name)}:80", *at):
            if published:
                still(net, "asker-2", name, where)
            else:
                is_down(net, where, "asker-2")


def test_a_health_port_fails_while_the_last_pods_end_and_they_still_serve(net: Place) -> None:
    name = "health"
    net.run(lingering(name))
    net.apply(service(name, HTTP, selector={"app": name}, type="LoadBalancer", externalTrafficPolicy="Local"))
    spec = net.get("service", name)["spec"]
    here = machine(net, "worker-1")
    checked = f"{here}:{spec['healthCheckNodePort']}/healthz"

    def told(status: str) -> bool:
        said = net.lab.ssh(
            "master-1", f"curl -so /dev/null -w '%{{http_code}}' -m 5 http://{checked}", check=False
        )
        assert said == status, said
        return True

    with gone_afterwards(net, name):
        net.lab.eventually("it is well", lambda: told("200"))
        net.kubectl("delete", "pod", name, "--wait=false")
        net.lab.eventually("it is not well", lambda: told("503"))
        still(net, "asker-1", name, f"{here}:{spec['ports'][0]['nodePort']}")


def test_pods_that_end_are_asked_when_no_other_is_left(net: Place) -> None:
    """Policies of Cluster: from every node, at the cluster's address and at node ports."""
    name = "ending-cluster"
    with ending(net, name, type="NodePort"):
        ends(net, name)
        at = f"{machine(net, 'worker-1')}:{node_port(net, name)}"
        for asker in ("asker-1", "asker-2"):
            still(net, asker, name, f"{ip_of(net, name)}:80")
            still(net, asker, name, at)


def test_an_internal_policy_of_local_asks_pods_that_end_on_the_same_node_alone(net: Place) -> None:
    name = "ending-internal"
    with ending(net, name, internalTrafficPolicy="Local"):
        ends(net, name)
        still(net, "asker-1", name, f"{ip_of(net, name)}:80")
        is_down(net, f"{ip_of(net, name)}:80", "asker-2")


def test_an_external_policy_of_local_asks_pods_that_end_on_the_node_that_is_called(net: Place) -> None:
    name = "ending-external"
    with ending(net, name, type="NodePort", externalTrafficPolicy="Local"):
        ends(net, name)
        here, there = (f"{machine(net, f'worker-{one}')}:{node_port(net, name)}" for one in (1, 2))
        still(net, "asker-1", name, here)
        still(net, "asker-2", name, here)
        is_down(net, there, "asker-1")
