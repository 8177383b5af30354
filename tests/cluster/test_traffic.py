"""What clients of a Service notice, at 200 requests a second, while things happen to it: nothing, where it was announced."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.traffic import Counted, Traffic

# A pod that ends goes on answering until every node has heard of it.
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 2}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: busybox:1.36
        command: [sh, -c, "mkdir /www && hostname >/www/index.html && exec httpd -f -p 8080 -h /www"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 4}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
ASKER = "master-1"


@pytest.fixture
def ways(lab: Lab, namespace: str) -> dict[str, str]:
    """How the Service is asked: at its cluster IP, and at the port of a node that has pods of it."""
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    lab.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s", seconds=90)
    spec = lab.get("service", "web", "-n", namespace)["spec"]
    worker = next(machine for machine in lab.cluster.machines if machine.name == "worker-1")
    found = {
        "cluster IP": f"{spec['clusterIP']}:80",
        "node port": f"{worker.address}:{spec['ports'][0]['nodePort']}",
    }
    for address in found.values():
        lab.eventually("it answers", partial(lab.ssh, ASKER, f"curl -fsS --max-time 3 http://{address}/"))
    return found


@contextmanager
def asked(lab: Lab, ways: dict[str, str]) -> Iterator[dict[str, Counted]]:
    """Ask both ways for as long as the block lasts, and a while before and after; the counts are there when it has ended."""
    counted: dict[str, Counted] = {}
    traffic = {way: Traffic(lab, ASKER, address, rate=100) for way, address in ways.items()}
    try:
        time.sleep(1)
        yield counted
        time.sleep(1)
    finally:
        counted.update({way: one.stop() for way, one in traffic.items()})
    for way, one in counted.items():
        print(f"{way}: {one}")  # noqa: T201
        assert one.sent > 100, way


def failed(counted: dict[str, Counted]) -> dict[str, dict[str, int]]:
    return {way: one.failed for way, one in counted.items() if one.failed}


def rolled_out(lab: Lab, namespace: str) -> None:
    lab.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=90s", seconds=120)


def test_a_rolling_update_fails_no_request(lab: Lab, namespace: str, ways: dict[str, str]) -> None:
    with asked(lab, ways) as counted:
        lab.kubectl("rollout", "restart", "deployment/web", "-n", namespace)
        rolled_out(lab, namespace)
    assert failed(counted) == {}


def test_a_restart_of_kube_proxy_fails_no_request(lab: Lab, namespace: str, ways: dict[str, str]) -> None:
    with asked(lab, ways) as counted:
        for machine in (ASKER, "worker-1"):
            lab.ssh(machine, "systemctl restart kube-proxy")
            healthy = "curl -fsS --max-time 3 http://127.0.0.1:10256/healthz"
            lab.eventually("kube-proxy is healthy", partial(lab.ssh, machine, healthy))
    assert failed(counted) == {}


def test_a_drain_fails_no_request(lab: Lab, namespace: str, ways: dict[str, str]) -> None:
    lab.kubectl("create", "pdb", "web", "-n", namespace, "--selector=app=web", "--min-available=2")
    lab.eventually(
        "the budget counts all",
        lambda: lab.get("pdb", "web", "-n", namespace)["status"].get("currentHealthy") == 4,
    )
    try:
        with asked(lab, ways) as counted:
            lab.kubectl(
                "drain", "worker-2", "--ignore-daemonsets", "--force", "--delete-emptydir-data",
                "--pod-selector=app=web", "--timeout=90s", seconds=120,
            )  # fmt: skip
            rolled_out(lab, namespace)
    finally:
        lab.kubectl("uncordon", "worker-2")
    assert failed(counted) == {}


def test_a_killed_endpoint_fails_only_what_it_held(lab: Lab, namespace: str, ways: dict[str, str]) -> None:
    """Nobody announced it: what is on its way to the pod is lost until the nodes have heard of it, a second or two."""
    victim = lab.running(namespace, "app=web")[0]["metadata"]["name"]
    with asked(lab, ways) as counted:
        lab.kubectl("delete", "pod", victim, "-n", namespace, "--grace-period=0", "--force")
        rolled_out(lab, namespace)
    for way, one in counted.items():
        assert sum(one.failed.values()) < 100, f"{way}: more than two seconds of a quarter of the requests"


def test_a_node_cut_off_from_the_masters_goes_on_serving(
    lab: Lab, namespace: str, ways: dict[str, str]
) -> None:
    """Other nodes still reach its pods, and its own pods others; when the line is whole again nothing was started anew."""
    before = {pod["metadata"]["uid"] for pod in lab.running(namespace, "app=web")}
    here = next(p for p in lab.running(namespace, "app=web") if p["spec"]["nodeName"] == "worker-1")
    direct = f"curl -fsS --max-time 3 http://{here['status']['podIP']}:8080/"
    masters = ", ".join(map(str, [*(machine.address for machine in lab.cluster.masters), lab.cluster.vip]))
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
        assert lab.ssh("worker-1", f"curl -fsS --max-time 3 http://{ways['cluster IP']}/").startswith("web-")
    finally:
        lab.ssh("worker-1", "nft delete table ip cut")
    lab.eventually("all nodes ready again", lambda: len(lab.nodes_ready()) == 5, seconds=90)
    lab.eventually("all pods ready again", lambda: len(lab.running(namespace, "app=web")) == 4)
    after = lab.running(namespace, "app=web")
    assert {pod["metadata"]["uid"] for pod in after} == before
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in after} == {0}
