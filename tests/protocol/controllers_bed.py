"""An API server and a controller manager of the tests' own, where every loop has only its own account's rights.

No kubelet runs: ``run`` writes what a kubelet would say of a pod.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.protocol.apiserver_bed import Lab, Server

type Raw = dict[str, Any]

CORE, APPS, BATCH, POLICY = "/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/policy/v1"


def manage(lab: Lab, server: Server, port: int, *more: str) -> None:
    """Start a controller manager for a server; the lab ends it."""
    at = lab.directory
    command = [
        sys.executable, "-c", "from kybern.cli.controller_manager import main; main()",
        f"--kubeconfig={lab.kubeconfig(server)}", "--use-service-account-credentials", "--leader-elect=false",
        f"--root-ca-file={at}/ca.crt", f"--service-account-private-key-file={at}/sa.key",
        f"--cluster-signing-cert-file={at}/ca.crt", f"--cluster-signing-key-file={at}/ca.key",
        "--bind-address=127.0.0.1", f"--secure-port={port}", *more,
    ]  # fmt: skip
    with (at / "controllers.log").open("wb") as log:
        lab.started.append(subprocess.Popen(command, stdout=log, stderr=log))


class Cluster:
    """What a test asks of the cluster, in one namespace of its own."""

    def __init__(self, lab: Lab, server: Server, namespace: str) -> None:
        self.lab = lab
        self.server = server
        self.namespace = namespace
        self.make(f"{CORE}/namespaces", {"metadata": {"name": namespace}})
        self.until(f"{CORE}/namespaces/{namespace}/serviceaccounts/default", bool)

    def path(self, root: str, plural: str, name: str = "") -> str:
        below = f"/{name}" if name else ""
        return f"{root}/namespaces/{self.namespace}/{plural}{below}"

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.server.ask(method, path, body)

    def make(self, path: str, body: Raw) -> Raw:
        code, found = self.ask("POST", path, body)
        assert code in (200, 201), found
        return dict(found)

    def get(self, path: str) -> Raw:
        code, found = self.ask("GET", path)
        return dict(found) if code == 200 else {}

    def items(self, path: str) -> list[Raw]:
        return list(self.get(path).get("items") or ())

    def change(self, path: str, change: Callable[[Raw], Any], below: str = "") -> Raw:
        """Read, change, write; again when somebody was faster."""
        for _ in range(20):
            found = self.get(path)
            change(found)
            code, answer = self.ask("PUT", path + below, found)
            if code != 409:
                assert code == 200, answer
                return dict(answer)
        raise AssertionError(f"{path} changes all the time")

    def patch(self, path: str, body: Raw, form: str = "strategic-merge") -> Raw:
        """As clients do that do not know the version."""
        code, answer = self.server.ask("PATCH", path, body, form=f"{form}-patch+json")
        assert code == 200, answer
        return dict(answer)

    def until(self, path: str, holds: Callable[[Raw], Any], seconds: float = 30) -> Raw:
        """Wait for what must come true; what was seen last is shown when it does not."""
        deadline = time.monotonic() + seconds
        found: Raw = {}
        while time.monotonic() < deadline:
            found = self.get(path)
            if holds(found):
                return found
            time.sleep(0.1)
        log = (self.lab.directory / "controllers.log").read_text()[-4000:]
        raise AssertionError(f"{path} is {found}\n{log}")

    def run(self, pod: Raw, phase: str = "Running", ready: str = "True") -> None:
        """What a kubelet says of a pod."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}],
        }
        path = f"{CORE}/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self.change(path, lambda found: found.update(status=status), "/status")

    def events(self, about: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of what was told about an object."""
        return [
            (event["type"], event["reason"], event["message"])
            for event in self.items(self.path(CORE, "events"))
            if event["involvedObject"]["name"] == about
        ]


def condition(found: Raw, type_: str) -> Raw:
    listed = (found.get("status") or {}).get("conditions") or ()
    return next((one for one in listed if one["type"] == type_), {})


def template(**labels: str) -> Raw:
    return {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "example.test/none"}]},
    }
