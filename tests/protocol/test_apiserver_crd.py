"""Custom kinds over the wire: with kubectl, on two API servers at once, and over a restart."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server

pytestmark = pytest.mark.etcd

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TOYS = "/apis/wire.example.com/v1/namespaces/default/toys"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "toys.wire.example.com"},
    "spec": {
        "group": "wire.example.com",
        "scope": "Namespaced",
        "names": {"plural": "toys", "kind": "Toy", "shortNames": ["ty"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "description": "How the toy should be.",
                                "properties": {
                                    "size": {"type": "integer", "default": 3},
                                    "colour": {"type": "string"},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def servers(lab: Lab, free_ports: Any) -> tuple[Server, Server]:
    return lab.start(free_ports(), "--endpoint-reconciler-type=none"), lab.start(
        free_ports(), "--endpoint-reconciler-type=none"
    )


def until(holds: Callable[[], bool], seconds: float = 60) -> float:
    """How long it took until something held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + seconds
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_kind_is_served_by_every_server_at_once_and_goes_with_its_definition(
    servers: tuple[Server, Server], lab: Lab, free_ports: Any
) -> None:
    one, other = servers
    assert one.ask("POST", CRDS, DEFINITION)[0] == 201
    took = until(lambda: all(each.ask("GET", TOYS)[0] == 200 for each in servers))
    toy = {
        "apiVersion": "wire.example.com/v1",
        "kind": "Toy",
        "metadata": {"name": "bear"},
        "spec": {"colour": "red"},
    }
    made = one.ask("POST", TOYS, toy)
    third = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    until(lambda: third.ask("GET", f"{TOYS}/bear")[0] == 200)

    assert took < 6  # a tenth of a second, and what a busy machine adds
    assert made[1]["spec"] == {"colour": "red", "size": 3}
    assert other.ask("GET", f"{TOYS}/bear") == third.ask("GET", f"{TOYS}/bear") == (200, made[1])
    assert len(other.ask("GET", f"{TOYS}?fieldSelector=spec.colour%3Dred")[1]["items"]) == 1
    assert other.ask("GET", f"{TOYS}?fieldSelector=spec.colour%3Dblue")[1]["items"] == []

    assert other.ask("DELETE", f"{CRDS}/toys.wire.example.com")[0] == 200
    until(lambda: all(each.ask("GET", TOYS)[0] == 404 for each in (*servers, third)))
    assert one.ask("GET", f"{CRDS}/toys.wire.example.com")[0] == 404
    one.ask("POST", CRDS, DEFINITION)
    until(lambda: one.ask("GET", TOYS)[0] == 200)
    assert one.ask("GET", TOYS)[1]["items"] == []
    one.ask("DELETE", f"{CRDS}/toys.wire.example.com")
    until(lambda: one.ask("GET", f"{CRDS}/toys.wire.example.com")[0] == 404)


def test_objects_go_before_their_definition(servers: tuple[Server, Server]) -> None:
    one, other = servers
    path = f"{CRDS}/toys.wire.example.com"
    assert one.ask("POST", CRDS, DEFINITION)[0] == 201
    until(lambda: all(each.ask("GET", TOYS)[0] == 200 for each in servers))
    head: dict[str, Any] = {"apiVersion": "wire.example.com/v1", "kind": "Toy"}
    for name, finalizers in (("bear", ["example.com/kept"]), ("duck", [])):
        body = {**head, "metadata": {"name": name, "finalizers": finalizers}, "spec": {"colour": "red"}}
        assert one.ask("POST", TOYS, body)[0] == 201

    def ends() -> str:
        listed = one.ask("GET", path)[1]["status"]["conditions"]
        return str(next((each["reason"] for each in listed if each["type"] == "Terminating"), ""))

    assert other.ask("DELETE", path)[0] == 200
    until(lambda: ends() == "InstanceDeletionInProgress")
    until(lambda: one.ask("GET", f"{TOYS}/duck")[0] == 404)
    late = {**head, "metadata": {"name": "late"}, "spec": {"colour": "red"}}
    until(lambda: all(each.ask("POST", TOYS, late)[0] == 405 for each in servers))

    assert one.ask("POST", TOYS, late)[1] == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "MethodNotAllowed",
        "message": "create not allowed while custom resource definition is terminating",
        "details": {"group": "wire.example.com", "kind": "toys"}, "code": 405,
    }  # fmt: skip
    shown = {
        each["name"]: each["verbs"]
        for each in one.ask("GET", TOYS.rpartition("/namespaces")[0])[1]["resources"]
    }
    assert shown["toys"] == ["delete", "deletecollection", "get", "list", "watch"]
    assert "deletionTimestamp" in one.ask("GET", f"{TOYS}/bear")[1]["metadata"]
    assert one.ask("GET", path)[1]["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    bear = one.ask("GET", f"{TOYS}/bear")[1]
    assert (
        one.ask("PUT", f"{TOYS}/bear", {**bear, "metadata": {**bear["metadata"], "finalizers": []}})[0] == 200
    )
    until(lambda: all(each.ask("GET", path)[0] == 404 for each in servers))
    until(lambda: all(each.ask("GET", TOYS)[0] == 404 for each in servers))


@pytest.mark.kubectl
def test_kubectl_knows_a_new_kind_at_once(servers: tuple[Server, Server], tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    server = servers[0]
    command = [
        kubectl, f"--server={server.url}", f"--certificate-authority={server.directory}/ca.crt",
        f"--client-certificate={server.directory}/admin.crt", f"--client-key={server.directory}/admin.key",
    ]  # fmt: skip

    def run(*arguments: str, stdin: str = "") -> str:
        environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": ""}
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            env=environment,
            check=False,
        )
        return done.stdout + done.stderr

    toy = "apiVersion: wire.example.com/v1\nkind: Toy\nmetadata: {name: bear}\nspec: {size: %d}\n"
    server.ask("POST", CRDS, DEFINITION)
    assert "condition met" in run(
        "wait", "--for=condition=Established", "crd/toys.wire.example.com", "--timeout=10s"
    )
    assert run("apply", "-f", "-", stdin=toy % 4) == "toy.wire.example.com/bear created\n"
    assert run("apply", "-f", "-", stdin=toy % 5) == "toy.wire.example.com/bear configured\n"
    assert run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=toy % 6).endswith(
        "serverside-applied\n"
    )
    assert [line.split()[:2] for line in run("get", "ty").splitlines()] == [["NAME", "SIZE"], ["bear", "6"]]
    assert run("scale", "toy", "bear", "--replicas=7") == "toy.wire.example.com/bear scaled\n"
    assert run(
        "patch", "toy", "bear", "--type=merge", "--subresource=status", "-p", '{"status":{"size":7}}'
    ).endswith("patched\n")
    assert "How the toy should be." in run("explain", "toy.spec")
    assert 'unknown field "spec.weight"' in run("apply", "-f", "-", stdin=(toy % 6).replace("size", "weight"))
    assert "toy.wire.example.com/bear" in run("get", "all")
    assert "deleted" in run("delete", "crd", "toys.wire.example.com")
    assert "NotFound" in run("get", "toys")  # this kubectl still remembers the kind
