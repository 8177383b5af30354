"""What clients of a Service notice, at 200 requests a second, while things happen to it: nothing, where it was announced.

All three ways are asked at once: the cluster IP and a node port by a machine of the cluster, the load balancer's address by
the test's own host, which is no part of it. The node that announces that address is ``worker-2``, and things happen to it.

The tests go on with the pods that the one before has left, in this order.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from kybern.balancers.elect import winner
from kybern.machinery.pools import Address, parse_range
from tests.cluster.conftest import TOPOLOGY, Lab
from tests.cluster.pods import Place, server, service
from tests.cluster.traffic import Counted, Traffic

NAMESPACE = "traffic"
ASKER = "master-1"
HOST = ""  # the test's own
ANNOUNCER = "worker-2"
CLUSTER_IP, NODE_PORT, BALANCER = "cluster IP", "node port", "load balancer"
# Requests a second.
RATES = {CLUSTER_IP: 50, NODE_PORT: 50, BALANCER: 100}


@pytest.fixture(scope="module")
def place(lab: Lab) -> Iterator[Place]:
    """Four pods, two on each worker, behind a service."""
    lab.kubectl("create", "namespace", NAMESPACE)
    try:
        lab.eventually("the default account", lambda: lab.kubectl("get", "sa", "default", "-n", NAMESPACE))
        made = Place.made(lab, NAMESPACE)
        balanced = service(
            "web", {"port": 80, "targetPort": 8080}, type="LoadBalancer", selector={"app": "web"}
        )
        balanced["metadata"]["annotations"] = {"kybern.io/addresses": str(announced_by(lab, ANNOUNCER))}
        made.apply(deployment(), balanced)
        rolled_out(made)
        yield made
    finally:
        lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s", check=False, seconds=90)


def deployment() -> dict[str, Any]:
    template = server("web", "", labels={"app": "web"})
    spec = template["spec"]
    del spec["nodeName"]
    # A pod that ends goes on answering until every node has heard of it.
    spec["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 4}}}
    spec["terminationGracePeriodSeconds"] = 10
    spec["topologySpreadConstraints"] = [
        {
            "topologyKey": "kubernetes.io/hostname",
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 4,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }


def announced_by(lab: Lab, node: str) -> Address:
    """The first address of the pool that is this node's turn while all are there."""
    nodes = [machine.name for machine in lab.cluster.machines]
    texts = chain.from_iterable(ranges for _, ranges in lab.cluster.load_balancer)
    return next(one for text in texts for one in parse_range(text) if winner(one, nodes) == node)


@pytest.fixture(scope="module")
def ways(place: Place) -> dict[str, str]:
    """How the Service is asked; the node port is that of a node that has pods of it."""
    lab, found = place.lab, place.get("service", "web")
    worker = next(machine for machine in lab.cluster.machines if machine.name == "worker-1")
    made = {
        CLUSTER_IP: f"{found['spec']['clusterIP']}:80",
        NODE_PORT: f"{worker.address}:{found['spec']['ports'][0]['nodePort']}",
        BALANCER: f"{announced_by(lab, ANNOUNCER)}:80",
    }
    all_answer(lab, made)
    return made


def all_answer(lab: Lab, ways: dict[str, str]) -> None:
    for way, address in ways.items():
        lab.eventually(f"the {way} answers", partial(answers, lab, asker(way), address))


def asker(way: str) -> str:
    return HOST if way == BALANCER else ASKER


def answers(lab: Lab, machine: str, address: str) -> bool:
    ask = ["curl", "-fsS", "--max-time", "3", f"http://{address}/hostname"]
    if machine:
        return bool(lab.ssh(machine, " ".join(ask)))
    # Whatever proxy this host uses for the world knows nothing of the machines.
    return (
        subprocess.run([*ask, "--noproxy", "*"], check=False, capture_output=True, timeout=5).returncode == 0
    )


@contextmanager
def asked(lab: Lab, ways: dict[str, str]) -> Iterator[dict[str, Counted]]:
    """Ask all ways for as long as the block lasts, and a while before and after; the counts are there when it has ended."""
    counted: dict[str, Counted] = {}
    traffic = {way: Traffic(lab, asker(way), address, rate=RATES[way]) for way, address in ways.items()}
    try:
        time.sleep(1)
        yield counted
        time.sleep(1)
    finally:
        counted.update({way: one.stop() for way, one in traffic.items()})
    for way, one in counted.items():
        print(f"{way}: {one}")  # noqa: T201
        assert one.sent > RATES[way], way


def failed(counted: dict[str, Counted]) -> dict[str, dict[str, int]]:
    return {way: one.failed for way, one in counted.items() if one.failed}


def rolled_out(place: Place) -> None:
    place.kubectl("rollout", "status", "deployment/web", "--timeout=90s", seconds=120)


def pods(place: Place) -> list[dict[str, Any]]:
    return place.lab.running(NAMESPACE, "app=web")


def test_a_node_cut_off_from_the_masters_goes_on_serving(place: Place, ways: dict[str, str]) -> None:
    """Other nodes still reach its pods, and its own pods others; when the line is whole again nothing was started anew."""
    lab, began = place.lab, pods(place)
    before = {pod["metadata"]["uid"] for pod in began}
    here = next(pod for pod in began if pod["spec"]["nodeName"] == "worker-1")
    direct = f"curl -fsS --max-time 3 http://{here['status']['podIP']}:8080/hostname"
    addresses = {*(machine.address for machine in lab.cluster.masters), lab.cluster.api_address}
    masters = ", ".join(map(str, addresses))
    cut = (
        "nft add table ip cut && nft add chain ip cut in '{ type filter hook input priority -300; }' && "
        "nft add chain ip cut out '{ type filter hook output priority -300; }' && "
        f"nft add rule ip cut in ip saddr {{ {masters} }} drop && "
        f"nft add rule ip cut out ip daddr {{ {masters} }} drop"
    ).replace("{ " + masters + " }", "'{ " + masters + " }'")
    lab.ssh("worker-1", cut)
    try:
        lab.eventually("worker-1 is not ready", lambda: "worker-1" not in lab.nodes_ready(), seconds=90)
        name = here["metadata"]["name"]
        assert lab.ssh("worker-2", direct).strip() == name
        assert lab.ssh("worker-1", direct).strip() == name
        service_ = f"curl -fsS --max-time 3 http://{ways[CLUSTER_IP]}/hostname"
        assert lab.ssh("worker-1", service_).startswith("web-")
    finally:
        lab.ssh("worker-1", "nft delete table ip cut")
    lab.eventually(
        "all nodes ready again", lambda: len(lab.nodes_ready()) == len(lab.cluster.machines), seconds=90
    )
    lab.eventually("all pods ready again", lambda: len(pods(place)) == 4)
    after = pods(place)
    assert {pod["metadata"]["uid"] for pod in after} == before
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in after} == {0}


@pytest.mark.operations
def test_a_node_that_loses_its_power_fails_only_what_its_pods_would_have_answered(
    place: Place, ways: dict[str, str]
) -> None:
    """It has two of four pods, and announces the load balancer's address.

    Its pods get their share until the cluster calls the node lost (--node-monitor-grace-period, 50 s), and none soon after
    that: nobody promises more. But all ways lead to the other pods meanwhile, the address again within five seconds.
    """
    lab = place.lab
    assert sorted(pod["spec"]["nodeName"] for pod in pods(place)) == [
        "worker-1",
        "worker-1",
        "worker-2",
        "worker-2",
    ]
    try:
        with asked(lab, ways) as counted:
            began = time.time()
            lab.kybern("machines", "kill", TOPOLOGY, ANNOUNCER)
            lab.eventually("it is not ready", lambda: ANNOUNCER not in lab.nodes_ready(), seconds=90)
            lost = time.time()
            time.sleep(15)  # of traffic after that
    finally:
        lab.start(ANNOUNCER)
    print(f"called lost after {lost - began:.1f} s")  # noqa: T201
    for way, one in counted.items():
        bound = 0.6 * RATES[way] * (lost - began) + (5 * RATES[way] if way == BALANCER else 0)
        assert sum(one.failed.values()) < bound, way
        assert one.last_failure < lost + 12, way
        assert one.silent < (5 if way == BALANCER else 2), way
    lab.eventually("all pods ready again", lambda: len(pods(place)) == 4)
    all_answer(lab, ways)


def test_a_restart_of_kube_proxy_fails_no_request(place: Place, ways: dict[str, str]) -> None:
    with asked(place.lab, ways) as counted:
        for machine in (ASKER, "worker-1", ANNOUNCER):
            place.lab.ssh(machine, "systemctl restart kube-proxy")
            healthy = "curl -fsS --max-time 3 http://127.0.0.1:10256/healthz"
            place.lab.eventually("kube-proxy is healthy", partial(place.lab.ssh, machine, healthy))
    assert failed(counted) == {}


@pytest.mark.operations
def test_a_switch_of_kube_proxy_s_backend_fails_no_request(
    place: Place, ways: dict[str, str], tmp_path: Path
) -> None:
    """From iptables to nftables and back, by the deploys that a user would run."""
    lab = place.lab
    with asked(lab, ways) as counted:
        for proxy, rules in (
            ("nftables", "nft list table ip kube-proxy"),
            ("iptables", "iptables -t nat -S KUBE-SERVICES"),
        ):
            lab.deploy_with(tmp_path, proxy=proxy)
            for machine in lab.cluster.machines:
                lab.eventually(f"{machine.name} has the new rules", partial(lab.ssh, machine.name, rules))
    gone = "nft list table ip kube-proxy >/dev/null 2>&1 || echo gone"
    for machine in lab.cluster.machines:
        lab.eventually(f"{machine.name} has no old rules", partial(lab.ssh, machine.name, gone))
    assert failed(counted) == {}


def test_a_killed_endpoint_fails_only_what_it_held(place: Place, ways: dict[str, str]) -> None:
    """Its process dies, which nobody announced: what it is asked fails until it runs again, or nodes have heard of it."""
    killed = "kill -9 $(pgrep -of '^python3 /tools/serve.py')"
    place.lab.eventually("all pods are ready", lambda: len(pods(place)) == 4)
    before = restarts(place)
    with asked(place.lab, ways) as counted:
        place.lab.ssh("worker-1", killed)
        place.lab.eventually("it was started anew", lambda: restarts(place) == before + 1, seconds=30)
        rolled_out(place)
    assert failed(counted), "nothing was killed"
    for way, one in counted.items():
        bound = 4 * RATES[way] // 4
        assert sum(one.failed.values()) < bound, f"{way}: more than four seconds of a quarter of the requests"


def restarts(place: Place) -> int:
    """Of all pods that are ready."""
    return sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods(place))


def test_a_rolling_update_fails_no_request(place: Place, ways: dict[str, str]) -> None:
    with asked(place.lab, ways) as counted:
        place.kubectl("rollout", "restart", "deployment/web")
        rolled_out(place)
    assert failed(counted) == {}


def test_a_drain_fails_no_request(place: Place, ways: dict[str, str]) -> None:
    place.kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=2")
    place.lab.eventually(
        "the budget counts all", lambda: place.get("pdb", "web")["status"].get("currentHealthy") == 4
    )
    try:
        with asked(place.lab, ways) as counted:
            place.lab.kubectl(
                "drain", ANNOUNCER, "--ignore-daemonsets", "--force", "--delete-emptydir-data",
                "--pod-selector=app=web", "--timeout=90s", seconds=120,
            )  # fmt: skip
            rolled_out(place)
    finally:
        place.lab.kubectl("uncordon", ANNOUNCER)
    assert failed(counted) == {}
