"""The programs of load balancers and Ingress with a real API server, each with the rights that the deploy gives it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.balancers import objects as balancer_objects
from roles.ingress import objects as ingress_objects
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.conftest import free_port

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("haproxy"), reason="needs root and haproxy"),
]
CORE = "/api/v1/namespaces/default"
READY = [{"type": "Ready", "status": "True"}]


@pytest.fixture(scope="module")
def server(lab: Lab) -> Server:
    made = lab.start(free_port())
    for one in (*balancer_objects(), *ingress_objects()):
        found = yaml.safe_load(one.file.content)
        place = one.place.rpartition("/")[0]
        status, said = made.ask("POST", place, found)
        assert status == 201, said
    node = {"metadata": {"name": "n1"}}
    made.ask("POST", "/api/v1/nodes", node)
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    told = {"status": {"conditions": READY, "addresses": addresses}}
    assert made.ask("PATCH", "/api/v1/nodes/n1/status", told, form="merge-patch+json")[0] == 200
    return made


@pytest.fixture
def started(lab: Lab, server: Server, tmp_path: Path) -> Iterator[Callable[..., None]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, module: str, *more: str) -> None:
        command = [sys.executable, "-c", f"from kybern.cli.{module} import main; main()"]
        command += [f"--kubeconfig={lab.kubeconfig(server, name)}", *more]
        with (tmp_path / f"{name}.log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log))

    yield start
    for one in running:
        one.terminate()
        assert one.wait(20) == 0
    said = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    print(said)  # noqa: T201  # shown when the test fails
    assert "orbidden" not in said


def eventually(found: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (last := found()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return last


def reasons(server: Server) -> set[str]:
    return {one["reason"] for one in server.ask("GET", f"{CORE}/events")[1]["items"]}


def test_a_service_gets_an_address_and_a_node_announces_it(
    server: Server, started: Callable[..., None]
) -> None:
    started("load-balancers", "load_balancers", "--pools=default=192.0.2.50")
    started("speaker", "speaker", "--hostname-override=n1", "--node-ip=127.0.0.1", f"--port={free_port()}")
    service = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    assert server.ask("POST", f"{CORE}/services", service)[0] == 201

    def addresses() -> list[Any]:
        status = server.ask("GET", f"{CORE}/services/web")[1]["status"]["loadBalancer"]
        return list(status.get("ingress", []))

    assert eventually(addresses) == [{"ip": "192.0.2.50", "ipMode": "VIP"}]
    eventually(lambda: {"AddressAllocated", "AddressAnnounced"} <= reasons(server))
    change = {"spec": {"type": "ClusterIP"}}
    assert server.ask("PATCH", f"{CORE}/services/web", change, form="merge-patch+json")[0] == 200
    eventually(lambda: not addresses())


def test_an_ingress_becomes_a_configuration_a_status_and_events(
    server: Server, started: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    started(
        "ingress", "ingress", f"--folder={folder}", f"--control-socket={tmp_path}/h", f"--master-socket={tmp_path}/m",
        "--publish-addresses=127.0.0.1,192.0.2.9",
    )  # fmt: skip
    backend = {"service": {"name": "gone", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec = {"ingressClassName": "kybern", "rules": [{"host": "x.com", "http": {"paths": [path]}}]}
    place = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    assert server.ask("POST", place, {"metadata": {"name": "i"}, "spec": spec})[0] == 201

    def status() -> Any:
        return server.ask("GET", f"{place}/i")[1]["status"]["loadBalancer"].get("ingress")

    assert eventually(status) == [{"ip": "127.0.0.1"}]
    eventually(lambda: "MissingService" in reasons(server))
    eventually(lambda: any("x.com#/ unreachable" in one.read_text() for one in folder.glob("*/prefix.map")))
    assert (folder / "haproxy.cfg").stat().st_mode & 0o777 == 0o600
