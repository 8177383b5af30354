"""kopf, the program, with an operator in the style of its documentation: handlers, fields, timers, daemons, finalizers."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server

pytestmark = pytest.mark.etcd
OPERATOR = Path(__file__).parents[1] / "data/operator.py"
EXTENSIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
EXAMPLES = "/apis/kopf.dev/v1/namespaces/default/kopfexamples"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def define(server: Server, group: str, plural: str, kind: str, *, cluster: bool = False) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {} if cluster else {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    spec = {
        "group": group,
        "scope": "Cluster" if cluster else "Namespaced",
        "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
        "versions": [version],
    }
    body = {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}
    assert server.ask("POST", EXTENSIONS, body)[0] == 201


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    found = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    define(found, "kopf.dev", "kopfexamples", "KopfExample")
    define(found, "kopf.dev", "clusterkopfpeerings", "ClusterKopfPeering", cluster=True)
    found.wait(EXAMPLES)
    found.wait("/apis/kopf.dev/v1/clusterkopfpeerings")
    peering = {"apiVersion": "kopf.dev/v1", "kind": "ClusterKopfPeering", "metadata": {"name": "tests"}}
    assert found.ask("POST", "/apis/kopf.dev/v1/clusterkopfpeerings", peering)[0] == 201
    return found


@pytest.fixture
def operator(lab: Lab, server: Server, tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts the operator; each that is still there ends with the test."""
    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "kopf", "run", "-A", "--peering=tests", "--priority=10", str(OPERATOR)]

    def start() -> "subprocess.Popen[bytes]":
        environment = {
            "KUBECONFIG": str(lab.kubeconfig(server)),
            "HOME": str(tmp_path),
            "PYTHONPATH": ":".join(sys.path),
        }
        with (tmp_path / f"kopf{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)
    for log in tmp_path.glob("kopf*.log"):
        sys.stdout.write(log.read_text())  # shown by pytest where the test fails


def eventually(ask: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not wanted(found := ask()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.1)  # between two looks
    return found


def seen(server: Server) -> dict[str, str]:
    status, found = server.ask("GET", f"{CONFIG_MAPS}/seen")
    return dict(found.get("data") or {}) if status == 200 else {}


def patch_field(server: Server, name: str, field: str) -> None:
    _, found = server.ask("GET", f"{EXAMPLES}/{name}")
    found["spec"]["field"] = field
    assert server.ask("PUT", f"{EXAMPLES}/{name}", found)[0] == 200


def test_an_operator_handles_the_life_of_an_object(
    operator: Callable[[], "subprocess.Popen[bytes]"], server: Server
) -> None:
    first = operator()
    body = {
        "apiVersion": "kopf.dev/v1",
        "kind": "KopfExample",
        "metadata": {"name": "one"},
        "spec": {"field": "a"},
    }
    assert server.ask("POST", CONFIG_MAPS, {"metadata": {"name": "seen"}})[0] == 201
    assert server.ask("POST", EXAMPLES, body)[0] == 201

    eventually(lambda: seen(server), lambda found: {"create", "timer", "daemon", "field"} <= found.keys())
    made = eventually(
        lambda: server.ask("GET", f"{EXAMPLES}/one")[1], lambda found: "on_create" in found.get("status", {})
    )
    assert made["status"]["on_create"] == {"made": "a"}
    assert made["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]

    eventually(lambda: peers(server), lambda found: len(found) == 1)
    patch_field(server, "one", "b")
    eventually(lambda: seen(server), lambda found: (found.get("update"), found.get("field")) == ("b", "a->b"))

    first.terminate()
    assert first.wait(20) == 0
    assert peers(server) == {}
    operator()
    eventually(lambda: seen(server), lambda found: "resume" in found)

    assert server.ask("DELETE", f"{EXAMPLES}/one")[0] == 200
    eventually(lambda: server.ask("GET", f"{EXAMPLES}/one")[0], lambda status: status == 404)
    assert {"delete", "stopped"} <= seen(server).keys()


def peers(server: Server) -> dict[str, Any]:
    found = server.ask("GET", "/apis/kopf.dev/v1/clusterkopfpeerings/tests")[1]
    return dict(found.get("status") or {})
