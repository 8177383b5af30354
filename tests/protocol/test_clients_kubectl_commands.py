"""Commands of kubectl as upstream's conformance tests type them, with the pods' part left out: no kubelet is here."""

import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Program, Server
from tests.protocol.clients_bed import client

pytestmark = [pytest.mark.etcd, pytest.mark.kubectl]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: httpd, labels: {run: httpd}}
spec: {automountServiceAccountToken: false, containers: [{name: httpd, image: "registry.example.com/httpd:1"}]}
"""
CONTROLLER = """
apiVersion: v1
kind: ReplicationController
metadata: {name: primary, labels: {app: store, role: primary}}
spec:
  replicas: 1
  selector: {app: store, role: primary}
  template:
    metadata: {labels: {app: store, role: primary}}
    spec:
      containers:
      - {name: primary, image: "registry.example.com/store:1", ports: [{name: server, containerPort: 6379}]}
"""


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    return lab.start(free_ports(), "--endpoint-reconciler-type=none")


@pytest.fixture(scope="module")
def kubectl(lab: Lab, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Program:
    program = client("kubectl-1.36")
    found = Program((program, "-n", "typed"), lab.kubeconfig(server), tmp_path_factory.mktemp("home"))
    found("create", "namespace", "typed")
    found("create", "serviceaccount", "default")
    return found


@pytest.fixture
def pod(kubectl: Program) -> Iterator[str]:
    kubectl("create", "-f", "-", stdin=POD)
    yield "httpd"
    kubectl("delete", "pod", "httpd", "--force", "--grace-period=0")


def test_the_control_plane_is_in_the_clusters_information(kubectl: Program, server: Server) -> None:
    said = re.sub(r"\x1b\[[0-9;]*m", "", kubectl("cluster-info"))

    assert f"Kubernetes control plane is running at {server.url}" in said


def test_both_versions_are_printed_in_full(kubectl: Program) -> None:
    said = kubectl("version")
    assert all(part in said for part in ("Client Version:", "Server Version: v1.36"))
    found = json.loads(kubectl("version", "-o", "json"))
    for part in (found["clientVersion"], found["serverVersion"]):
        assert {"major", "minor", "gitVersion", "gitCommit", "buildDate", "platform"} <= part.keys()


def test_a_dry_run_on_the_server_changes_nothing(kubectl: Program, pod: str) -> None:
    patch = '{"spec":{"containers":[{"name":"httpd","image":"registry.example.com/busybox:1"}]}}'
    said = kubectl("patch", "pod", pod, "-p", patch, "--dry-run=server")

    assert said.startswith("pod/httpd patched")
    assert (
        kubectl("get", "pod", pod, "-o", "jsonpath={.spec.containers[0].image}")
        == "registry.example.com/httpd:1"
    )


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: httpd, labels: {app: httpd}}
spec:
  replicas: 1
  selector: {matchLabels: {app: httpd}}
  template:
    metadata: {labels: {app: httpd}}
    spec: {containers: [{name: httpd, image: "registry.example.com/httpd:1", ports: [{containerPort: 80}]}]}
"""


def test_a_difference_is_shown_and_changes_nothing(kubectl: Program) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    other = DEPLOYMENT.replace("httpd:1", "other:1")

    shown = kubectl("diff", "-f", "-", stdin=other, code=1)
    assert re.search(
        r"-\s+- image: registry.example.com/httpd:1\n\+\s+- image: registry.example.com/other:1", shown
    )
    assert kubectl("diff", "-f", "-", stdin=DEPLOYMENT) == ""
    kubectl("delete", "-f", "-", stdin=DEPLOYMENT)


def test_a_pod_is_run_once_from_an_image(kubectl: Program) -> None:
    kubectl("run", "once", "--restart=Never", "--image=registry.example.com/httpd:1")
    found = json.loads(kubectl("get", "pod", "once", "-o", "json"))

    assert found["spec"]["restartPolicy"] == "Never"
    assert [one["image"] for one in found["spec"]["containers"]] == ["registry.example.com/httpd:1"]
    kubectl("delete", "pods", "once", "--grace-period=0", "--force")


def test_the_first_version_is_among_the_versions(kubectl: Program) -> None:
    assert "v1" in kubectl("api-versions").split()


def test_the_image_of_a_pod_is_replaced(kubectl: Program, pod: str) -> None:
    found = kubectl("get", "pod", pod, "-o", "json").replace("httpd:1", "busybox:1")

    assert kubectl("replace", "-f", "-", stdin=found) == "pod/httpd replaced\n"
    assert (
        kubectl("get", "pod", pod, "-o", "jsonpath={.spec.containers[0].image}")
        == "registry.example.com/busybox:1"
    )


def test_a_label_is_set_shown_and_taken(kubectl: Program, pod: str) -> None:
    kubectl("label", "pods", pod, "testing-label=testing-label-value")
    assert "testing-label-value" in kubectl("get", "pod", pod, "-L", "testing-label")
    kubectl("label", "pods", pod, "testing-label-")
    assert "testing-label-value" not in kubectl("get", "pod", pod, "-L", "testing-label")


def test_pods_of_a_controller_are_annotated(kubectl: Program, pod: str) -> None:
    assert "patched" in kubectl("patch", "pod", pod, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    found = json.loads(kubectl("get", "pods", "-l", "run=httpd", "-o", "json"))["items"]

    assert [item["metadata"]["annotations"]["x"] for item in found] == ["y"]


@contextmanager
def proxy(kubectl: Program, *arguments: str) -> Iterator[str]:
    """Kubectl proxy, and the line in which it says where it listens."""
    process = subprocess.Popen(
        [*kubectl.command, f"--kubeconfig={kubectl.kubeconfig}", "proxy", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_a_proxy_on_a_port_of_its_choice_reaches_the_api(kubectl: Program) -> None:
    with proxy(kubectl, "-p", "0", "--disable-filter") as said:
        port = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert port is not None, said
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/api/", timeout=10) as answer:
            found = json.loads(answer.read())

    assert (found["kind"], found["versions"]) == ("APIVersions", ["v1"])


def test_a_proxy_on_a_unix_socket_reaches_the_api(kubectl: Program, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with proxy(kubectl, f"--unix-socket={path}") as said:
        assert str(path) in said
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(path))
            link.sendall(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
            found = b"".join(iter(lambda: link.recv(65536), b""))

    assert b" 200 OK" in found
    assert b'"APIVersions"' in found


def described(said: str, *wanted: str) -> None:
    missing = [part for part in wanted if not re.search(part, said)]
    assert not missing, (missing, said)


def test_what_matters_is_described(kubectl: Program, pod: str) -> None:
    kubectl("create", "-f", "-", stdin=CONTROLLER)
    kubectl("expose", "rc", "primary", "--name=primary", "--port=6379", "--target-port=server")

    described(
        kubectl("describe", "pod", pod),
        "Name: +httpd",
        "Namespace: +typed",
        "Labels: +run=httpd",
        "Image: +registry",
    )
    described(
        kubectl("describe", "rc", "primary"),
        "Name: +primary", "Namespace: +typed", "Selector: +app=store,role=primary", "Labels: +app=store",
        "role=primary", "Annotations:", "Replicas: +0 current / 1 desired", "Pods Status: +0 Running",
        "Pod Template:", "Image: +registry",
    )  # fmt: skip
    described(
        kubectl("describe", "service", "primary"),
        "Name: +primary", "Labels: +app=store", "Selector: +app=store,role=primary", "Type: +ClusterIP", "IP: ",
        "Port: +<unset> +6379/TCP", "TargetPort: +server/TCP", "Endpoints:", "Session Affinity: +None",
    )  # fmt: skip
    said = kubectl("describe", "namespace", "typed")
    described(said, "Name: +typed", "Labels:", "Status: +Active", "No resource quota", "No LimitRange")


def test_a_controller_is_exposed_twice(kubectl: Program) -> None:
    kubectl("create", "-f", "-", stdin=CONTROLLER.replace("name: primary", "name: exposed", 1))

    def ports(name: str) -> list[tuple[int, Any]]:
        found = json.loads(kubectl("get", "service", name, "-o", "json"))["spec"]["ports"]
        return [(port["port"], port["targetPort"]) for port in found]

    kubectl("expose", "rc", "exposed", "--name=rm2", "--port=1234", "--target-port=6379")
    assert ports("rm2") == [(1234, 6379)]
    kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    assert ports("rm3") == [(2345, 6379)]


def test_a_controller_is_scaled(kubectl: Program) -> None:
    kubectl("create", "-f", "-", stdin=CONTROLLER.replace("name: primary", "name: scaled", 1))

    assert kubectl("scale", "rc", "scaled", "--replicas=2").endswith("scaled\n")
    assert kubectl("get", "rc", "scaled", "-o", "jsonpath={.spec.replicas}") == "2"


def test_a_quota_is_created_with_its_scopes(kubectl: Program) -> None:
    kubectl("create", "quota", "million", "--hard=pods=1000000,services=1000000")
    found = json.loads(kubectl("get", "quota", "million", "-o", "json"))["spec"]
    assert found["hard"] == {"pods": "1M", "services": "1M"}
    kubectl("create", "quota", "scopes", "--hard=pods=1000000", "--scopes=BestEffort,NotTerminating")
    assert json.loads(kubectl("get", "quota", "scopes", "-o", "json"))["spec"]["scopes"] == [
        "BestEffort",
        "NotTerminating",
    ]
    said = kubectl("create", "quota", "wrong", "--hard=pods=1000000", "--scopes=Nothing", code=1)
    assert "unsupported scope" in said
    kubectl("delete", "quota", "million", "scopes")  # nobody counts here, and what is not counted is refused
