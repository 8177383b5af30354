"""A cluster for the tests, made by the same commands that users run, and removed again at the end.

Its topology is ``test``: other names and addresses than ``lab``, so that both can be there. ``KYBERN_KEEP=1`` leaves it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kybern.machines.load import load
from kybern.machines.state import State
from kybern.machines.topology import Cluster

TOPOLOGY = "test"
KYBERN = Path(sys.executable).parent / "kybern"
KUBECTL = Path(sys.executable).parent / "kubectl"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@dataclass(frozen=True)
class Lab:
    """The cluster under test, and what a user does with it."""

    cluster: Cluster

    @property
    def kubeconfig(self) -> Path:
        return State.of(self.cluster.name).directory / "admin.conf"

    def kybern(self, *words: str, check: bool = True, seconds: int = 600) -> subprocess.CompletedProcess[str]:
        return _run([str(KYBERN), *words], check, seconds)

    def kubectl(self, *words: str, check: bool = True, seconds: int = 60, stdin: str = "") -> str:
        command = [str(KUBECTL), f"--kubeconfig={self.kubeconfig}", "--request-timeout=10s", *words]
        done = _run(command, check, seconds, stdin)
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def ssh(self, machine: str, command: str, check: bool = True, seconds: int = 60) -> str:
        config = State.of(self.cluster.name).ssh_config
        return _run(["ssh", "-F", str(config), machine, command], check, seconds).stdout

    def eventually(self, what: str, found: Callable[[], Any], seconds: float = 60) -> Any:
        """The first true answer; fails with the last one when there is none in time."""
        ends, last = time.monotonic() + seconds, None
        while time.monotonic() < ends:
            try:
                last = found()
                if last:
                    return last
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired, AssertionError) as problem:
                last = problem
            time.sleep(0.3)
        pytest.fail(f"not within {seconds:.0f} s: {what}; last: {last}")

    def nodes_ready(self) -> set[str]:
        return {
            node["metadata"]["name"]
            for node in self.get("nodes")["items"]
            for condition in node["status"]["conditions"]
            if (condition["type"], condition["status"]) == ("Ready", "True")
        }

    def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return found

    def running(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.pods(namespace, selector)
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])
            )
        ]


def _run(command: list[str], check: bool, seconds: int, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds, input=stdin)
    if check and done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise subprocess.CalledProcessError(
            done.returncode, f"{' '.join(command[:8])}\n{said}", done.stdout, done.stderr
        )
    return done


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Five machines, deployed."""
    if os.geteuid():
        pytest.fail("cluster tests make machines: run them as root (sudo make test)")
    found = Lab(load(Path(f"inventories/topology/{TOPOLOGY}.yaml")))
    try:
        found.kybern("machines", "up", TOPOLOGY, seconds=900)
        found.kybern("deploy", TOPOLOGY, seconds=600)
        yield found
    finally:
        if not os.environ.get("KYBERN_KEEP"):
            found.kybern("machines", "down", TOPOLOGY, check=False)


@pytest.fixture
def namespace(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    name = request.node.name.replace("_", "-").removeprefix("test-")[:40].strip("-")
    lab.kubectl("create", "namespace", name)
    lab.eventually("the default service account", lambda: lab.kubectl("get", "sa", "default", "-n", name))
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=true", "--timeout=60s", check=False, seconds=90)
