"""kybern-metrics between real kubectl, the real API server, and a kubelet of the test's own."""

import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kybern.auth.x509 import Authority
from kybern.machines.load import load
from roles.cluster_metrics import objects
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.backends import ADDRESS, Handler, Serving, backend, network
from tests.protocol.conftest import Etcd, etcd_binary, free_port
from tests.protocol.test_apiserver_aggregation import stop

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]
METRICS = "/apis/metrics.k8s.io/v1beta1"
USER = "system:kybern-metrics"
TEXT = """\
node_cpu_usage_seconds_total {node} {now}
node_memory_working_set_bytes 1.073741824e+09 {now}
container_cpu_usage_seconds_total{{container="c",namespace="default",pod="web"}} {pod} {now}
container_memory_working_set_bytes{{container="c",namespace="default",pod="web"}} 2.097152e+07 {now}
container_start_time_seconds{{container="c",namespace="default",pod="web"}} 1.7e+09
"""


class Kubelet(Handler):
    """One core of the node's is busy, half a core of the pod's."""

    def answer(self) -> None:
        self.server.asked.append(self.path)
        now = time.time()
        text = TEXT.format(node=now, pod=now / 2, now=int(now * 1000))
        self.send(text.encode(), Content_Type="text/plain")


@dataclass
class World:
    lab: Lab
    server: Server
    kubelet: Serving
    port: int

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        code, found = self.server.ask("GET", METRICS + path)
        return code, found

    def until(
        self, path: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 40
    ) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        code, found = self.ask(path)
        while time.monotonic() < deadline and not (code == 200 and condition(found)):
            time.sleep(0.2)
            code, found = self.ask(path)
        assert code == 200, found
        assert condition(found), found
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binary = etcd_binary()
    if not binary:
        pytest.skip("no etcd of at least 3.5: run scripts/fetch-etcd, or set KYBERN_ETCD")
    directory = tmp_path_factory.mktemp("metrics")
    with ExitStack() as undo:
        undo.enter_context(network())
        etcd = Etcd(binary, directory, free_port(), free_port())
        etcd.start()
        undo.callback(etcd.stop)
        lab = Lab(directory, etcd)
        authority = certificates(directory)
        kubelet = undo.enter_context(backend("kubelet", pair=directory / "kubelet", handler=Kubelet))
        kubelet.context.load_verify_locations(directory / "ca.crt")
        kubelet.context.verify_mode = ssl.CERT_REQUIRED
        undo.callback(stop, lab)
        server = lab.start(
            free_port(),
            f"--proxy-client-cert-file={directory}/front-proxy-client.crt",
            f"--proxy-client-key-file={directory}/front-proxy-client.key",
            f"--requestheader-client-ca-file={directory}/front-ca.crt",
        )
        port = free_port()
        prepare(lab, server, authority, kubelet, port)
        undo.enter_context(daemon(lab, server, port))
        yield World(lab, server, kubelet, port)


def certificates(directory: Path) -> bytes:
    """Of the daemon, a kubelet and the front proxy; the answer is the cluster's authority."""
    now = datetime.now(UTC)
    proxies = Authority.create("front-proxy-ca", now)
    ours = Authority.load((directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes())
    name = "metrics-server.kube-system.svc"
    issued = {
        "front-proxy-client": proxies.issue("front-proxy-client"),
        "front-proxy-other": proxies.issue("front-proxy-other"),
        "kubelet": ours.issue(
            "system:node:n1", dns=("n1",), ips=(ADDRESS,), server=True, client=False, now=now
        ),
        "metrics": ours.issue(
            "kybern-metrics", dns=(name,), ips=(ADDRESS,), server=True, client=False, now=now
        ),
        USER: ours.issue(USER, now=now),
    }
    (directory / "front-ca.crt").write_bytes(proxies.cert_pem)
    for each, pair in issued.items():
        (directory / f"{each}.crt").write_bytes(pair.cert_pem)
        (directory / f"{each}.key").write_bytes(pair.key_pem)
    return ours.cert_pem


def prepare(lab: Lab, server: Server, authority: bytes, kubelet: Serving, port: int) -> None:
    """What the role writes, a node, and a pod on it."""
    cluster = load(Path("inventories/topology/lab.yaml"))
    for one in objects(cluster, authority):
        text = one.file.content.decode().replace("targetPort: 10251", f"targetPort: {port}")
        kubectl(lab, server, "apply", "--server-side", "-f", "-", stdin=text)
    node = {"metadata": {"name": "n1", "labels": {"zone": "a"}}}
    code, made = server.ask("POST", "/api/v1/nodes", node)
    assert code == 201, made
    made["status"] = {
        "addresses": [{"type": "InternalIP", "address": ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.server_port}},
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    }
    assert server.ask("PUT", "/api/v1/nodes/n1/status", made)[0] == 200
    account = {"metadata": {"name": "default"}}
    assert server.ask("POST", "/api/v1/namespaces/default/serviceaccounts", account)[0] == 201
    container = {"name": "c", "image": "busybox"}
    pod = {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [container]},
    }
    assert server.ask("POST", "/api/v1/namespaces/default/pods", pod)[0] == 201


@contextmanager
def daemon(lab: Lab, server: Server, port: int) -> Iterator[None]:
    log = lab.directory / "metrics.log"
    command = [
        sys.executable, "-c", "from kybern.cli.metrics import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, USER)}", "--metric-resolution=10", f"--bind-address={ADDRESS}",
        f"--secure-port={port}", f"--tls-cert-file={lab.directory}/metrics.crt", "--node-name=master-1",
        f"--tls-private-key-file={lab.directory}/metrics.key", "--service=kube-system/metrics-server",
        f"--requestheader-client-ca-file={lab.directory}/front-ca.crt", f"--advertise-address={ADDRESS}",
        "--requestheader-allowed-names=front-proxy-client",
    ]  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()


def test_nodes_and_pods_are_told_what_they_use(world: World) -> None:
    (node,) = world.until("/nodes", lambda found: bool(found["items"]))["items"]
    (pod,) = world.until(
        "/namespaces/default/pods?labelSelector=app%3Dweb", lambda found: bool(found["items"])
    )["items"]

    assert node["metadata"]["labels"] == {"zone": "a"}
    assert node["usage"]["memory"] == "1Gi"
    assert 0.9e9 < int(node["usage"]["cpu"].removesuffix("n")) < 1.1e9
    (container,) = pod["containers"]
    assert (container["name"], container["usage"]["memory"]) == ("c", "20Mi")
    assert 0.45e9 < int(container["usage"]["cpu"].removesuffix("n")) < 0.55e9


def test_one_is_told_by_name_and_who_is_not_there_is_missed_in_upstream_s_words(world: World) -> None:
    world.until("/nodes/n1", lambda found: found["kind"] == "NodeMetrics")
    world.until("/namespaces/default/pods/web", lambda found: found["kind"] == "PodMetrics")

    code, found = world.ask("/namespaces/default/pods/nobody")
    assert (code, found["message"]) == (404, 'pods "nobody" not found')
    code, found = world.ask("/nodes/nobody")
    assert (code, found["message"]) == (404, 'nodes "nobody" not found')


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?labelSelector=app%3Dother", []),
        ("?fieldSelector=metadata.name%3Dweb", ["web"]),
        ("?fieldSelector=metadata.name%3Dother", []),
    ],
)
def test_selectors_choose(world: World, query: str, names: list[str]) -> None:
    world.until("/pods", lambda found: bool(found["items"]))

    assert [one["metadata"]["name"] for one in world.ask(f"/pods{query}")[1]["items"]] == names


def test_wrong_questions_are_refused(world: World) -> None:
    world.until("/nodes", lambda _found: True)

    assert world.ask("/pods?labelSelector=%21%21")[0] == 400
    assert world.ask("/pods?fieldSelector=spec.nodeName%3Dn1")[0] == 400
    assert world.ask("/pods?watch=true")[0] == 405
    assert world.server.ask("DELETE", f"{METRICS}/nodes/n1")[0] == 405


def test_kubectl_top_and_get_read_it(world: World) -> None:
    world.until("/pods", lambda found: bool(found["items"]))

    nodes = kubectl(world.lab, world.server, "top", "nodes").splitlines()
    assert nodes[0].split() == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    assert nodes[1].split()[0] == "n1"
    assert kubectl(world.lab, world.server, "top", "pods", "--no-headers").split()[2] == "20Mi"
    assert kubectl(world.lab, world.server, "top", "pod", "web", "--containers", "--no-headers").split()[
        :2
    ] == ["web", "c"]
    assert kubectl(world.lab, world.server, "get", "podmetrics", "--no-headers").split()[0] == "web"


def kubectl(lab: Lab, server: Server, *words: str, stdin: str = "") -> str:
    command = [str(Path(sys.executable).parent / "kubectl"), f"--kubeconfig={lab.kubeconfig(server)}", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["", "front-proxy-other", USER])
def test_only_front_proxies_are_answered(world: World, name: str) -> None:
    world.until("/nodes", lambda _found: True)
    context = ssl.create_default_context(cafile=str(world.lab.directory / "ca.crt"))
    if name:
        context.load_cert_chain(world.lab.directory / f"{name}.crt", world.lab.directory / f"{name}.key")
    try:
        with urllib.request.urlopen(
            f"https://{ADDRESS}:{world.port}{METRICS}/nodes", timeout=5, context=context
        ) as answer:
            code = answer.status
    except urllib.error.HTTPError as problem:
        code = problem.code
    except (ssl.SSLError, OSError):
        code = 0  # a certificate of another authority ends the connection
    assert code == (0 if name == USER else 401)
