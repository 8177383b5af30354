"""A cluster for the tests, made by the same commands that users run, and removed again at the end.

Its topology is ``test``: other names and addresses than ``lab``, so that both can be there. ``KYBERN_KEEP=1`` leaves it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    def topology(self) -> Path:
        return Path(f"inventories/topology/{self.cluster.name}.yaml")

    @property
    def kubeconfig(self) -> Path:
        return State.of(self.cluster.name).directory / "admin.conf"

    def kybern(self, *words: str, check: bool = True, seconds: int = 600) -> subprocess.CompletedProcess[str]:
        return _run([str(KYBERN), *words], check, seconds)

    def pyinfra(self, inventory: Path, *words: str, seconds: int = 300) -> subprocess.CompletedProcess[str]:
        """A deploy by the tool itself, for what ``kybern`` has no word for."""
        return _run(
            [sys.executable, "-m", "pyinfra", "-y", *words[1:], str(inventory), words[0]], True, seconds
        )

    def deploy_with(self, place: Path, **settings: object) -> None:
        """Deploy the cluster with other settings than its topology has; ``place`` is a directory for the files."""
        topology = yaml.safe_load(self.topology.read_text()) | settings
        (place / "topology.yaml").write_text(yaml.safe_dump(topology))
        inventory = place / "inventory.py"
        inventory.write_text(
            "from kybern.machines.inventory import inventory\n\n"
            f"masters, workers, etcd = inventory({str(place / 'topology.yaml')!r})\n"
        )
        self.pyinfra(inventory, "deploys/cluster.py")

    def kubectl(self, *words: str, check: bool = True, seconds: int = 60, stdin: str = "") -> str:
        command = [str(KUBECTL), f"--kubeconfig={self.kubeconfig}", "--request-timeout=10s", *words]
        done = _run(command, check, seconds, stdin)
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, namespace: str, *objects: dict[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)

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

    def start(self, *machines: str, seconds: int = 120) -> None:
        """Give machines their power again, and wait until all nodes are ready.

        A node that was away for less than its grace period was ready all the time, as far as the API knows: so its
        kubelet must have spoken since.
        """
        began = datetime.now(UTC)
        for name in machines:
            self.kybern("machines", "start", self.cluster.name, name)

        def back() -> bool:
            renewed = (
                self.get("lease", name, "-n", "kube-node-lease")["spec"]["renewTime"] for name in machines
            )
            return all(datetime.fromisoformat(one) > began for one in renewed)

        self.eventually(f"{machines} are back", back, seconds=seconds)
        everybody = {machine.name for machine in self.cluster.machines}
        self.eventually("all nodes ready again", lambda: self.nodes_ready() == everybody, seconds=120)

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


@contextmanager
def made(topology: str, *, up: int = 900, deploy: int = 600) -> Iterator[Lab]:
    """The machines of a topology, deployed; ``up`` and ``deploy`` are seconds. They go at the end."""
    if os.geteuid():
        pytest.fail("cluster tests make machines: run them as root (sudo make test)")
    found = Lab(load(Path(f"inventories/topology/{topology}.yaml")))
    try:
        found.kybern("machines", "up", topology, seconds=up)
        found.kybern("deploy", topology, seconds=deploy)
        yield found
    finally:
        if not os.environ.get("KYBERN_KEEP"):
            found.kybern("machines", "down", topology)


@contextmanager
def made_apart(topology: str, **seconds: int) -> Iterator[Lab]:
    """As ``made``, of a topology that users have, too: never the cluster of theirs."""
    if State.of(topology).directory.exists() and not os.environ.get("KYBERN_KEEP"):
        pytest.fail(f"there is a cluster {topology} already: run 'kybern machines down {topology}' first")
    with made(topology, **seconds) as found:
        yield found


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Five machines, deployed."""
    with made(TOPOLOGY) as found:
        yield found


@pytest.fixture(scope="session")
def services_lab() -> Iterator[Lab]:
    """Three machines with both families of IP and addresses for load balancers, deployed."""
    with made_apart("services") as found:
        yield found


@pytest.fixture(scope="session")
def machine() -> Iterator[Lab]:
    """One real virtual machine that is everything, deployed. Without KVM it is emulated, which takes minutes."""
    with made_apart("vm", up=1200, deploy=1800) as found:
        yield found


@pytest.fixture
def namespace(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    yield from _namespace(lab, request)


@pytest.fixture
def vm_namespace(machine: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same on the virtual machine."""
    yield from _namespace(machine, request)


def _namespace(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-").removeprefix("test-")[:40].strip("-")
    with space(lab, name):
        yield name


@contextmanager
def space(lab: Lab, name: str) -> Iterator[None]:
    """A namespace, as soon as pods can run in it. It goes at the end."""
    made = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    # On a busy machine the virtual address may move between masters at any time, and kubectl gives up at once.
    lab.eventually(f"namespace {name}", lambda: lab.kubectl("apply", "-f", "-", stdin=made))
    try:
        lab.eventually("the default service account", lambda: lab.kubectl("get", "sa", "default", "-n", name))
        yield
    finally:
        lab.kubectl("delete", "namespace", name, "--wait=true", "--timeout=60s", check=False, seconds=90)
