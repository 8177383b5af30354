"""Rolling upgrades: to another release and back, under requests, with a budget in the way, and to one that does not start.

Releases are made as an operator makes them: from another state of the tree. Each test begins where the one before ended, and
the last leaves the release of this tree.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kybern.daemon.version import VERSION
from kybern.machines.state import home
from tests.cluster.conftest import TOPOLOGY, Lab
from tests.cluster.test_cluster import web
from tests.cluster.test_days_after import MOVES, asking, nothing_to_do

pytestmark = pytest.mark.operations

ROOT = Path(__file__).parents[2]
PARTS = ("src", "roles", "deploys", "templates", "inventories", "requirements")
FILES = ("pyproject.toml", "README.md", "config.py")
NEXT = "v1.36.90-kybern"
BROKEN = "v1.36.91-kybern"
BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: %d, selector: {matchLabels: {app: web}}}
"""


class Tree:
    """The repository at another version, in a directory of its own."""

    def __init__(self, folder: Path, version: str) -> None:
        self._folder = folder
        for name in PARTS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self.edit("src/kybern/daemon/version.py", VERSION, version)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self._folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def kybern(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self._folder / 'src'}:{self._folder}",
            "KYBERN_STATE": str(home().absolute()),
        }
        program = str(Path(sys.executable).parent / "kybern")
        return subprocess.run(
            [program, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=900,
            cwd=self._folder,
            env=environment,
        )


def versions(lab: Lab) -> dict[str, str]:
    nodes = lab.get("nodes")["items"]
    return {node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}


def cordoned(lab: Lab) -> list[str]:
    nodes = lab.get("nodes")["items"]
    return [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")]


@contextmanager
def fewest(lab: Lab, namespace: str) -> Iterator[list[int]]:
    """How many pods of the deployment were available, at every look."""
    seen, over = [], threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            # A question that is cut off by the address's move is asked again; how many are is counted elsewhere.
            with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
                found = lab.get("deployment", "web", "-n", namespace)["status"]
                seen.append(found.get("availableReplicas", 0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(60)


def test_a_cluster_that_is_up_to_date_is_left_alone(lab: Lab) -> None:
    done = lab.kybern("upgrade", TOPOLOGY)

    assert f"Nothing to upgrade: 5 machines of {lab.cluster.name} run {VERSION}; 0 changes." in done.stdout


def test_all_machines_come_to_the_next_release_and_nobody_is_interrupted(
    lab: Lab, namespace: str, tmp_path: Path
) -> None:
    web(lab, namespace)
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=BUDGET % 3)
    lab.kubectl("cordon", "master-3")
    tree = Tree(tmp_path / "next", NEXT)

    with asking(lab) as asked, fewest(lab, namespace) as available:
        done = tree.kybern("upgrade", TOPOLOGY)

    assert done.returncode == 0, done.stderr[-3000:]
    assert set(versions(lab).values()) == {NEXT}
    assert len(asked.failures) <= MOVES, asked
    assert asked.answers > 100
    assert min(available) >= 3
    # Somebody else's cordon is not ours to lift.
    assert cordoned(lab) == ["master-3"]
    lab.kubectl("uncordon", "master-3")
    again = tree.kybern("upgrade", TOPOLOGY)
    assert "Nothing to upgrade" in again.stdout, again.stderr[-2000:]


def test_a_release_that_does_not_start_stops_at_the_first_machine_which_goes_back(
    lab: Lab, tmp_path: Path
) -> None:
    tree = Tree(tmp_path / "broken", BROKEN)
    tree.edit(
        "src/kybern/cli/kubelet.py", "def main() -> None:\n", "def main() -> None:\n    raise OSError\n"
    )
    # What a newer release may bring: a flag that the one before does not know.
    tree.edit(
        "templates/scheduler/kube-scheduler.service.j2",
        "{{ programs }}/kube-scheduler",
        "{{ programs }}/kube-scheduler --v=1",
    )
    uids = {node["metadata"]["name"]: node["metadata"]["uid"] for node in lab.get("nodes")["items"]}

    with asking(lab) as asked:
        done = tree.kybern("upgrade", TOPOLOGY)

    assert done.returncode == 1
    assert "the upgrade stopped at master-1" in done.stderr
    assert "master-1 is back on package-" in done.stderr
    assert "the machines that follow were not touched" in done.stderr
    assert set(versions(lab).values()) == {NEXT}
    assert lab.nodes_ready() == set(uids)
    assert cordoned(lab) == []
    assert len(asked.failures) <= MOVES, asked
    assert " --v=1" not in lab.ssh("master-1", "cat /etc/systemd/system/kube-scheduler.service")


def test_a_downgrade_is_refused_unless_it_is_meant_and_a_budget_holds_up_a_worker_until_it_is_changed(
    lab: Lab, namespace: str
) -> None:
    refused = lab.kybern("upgrade", TOPOLOGY, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("say --allow-downgrade if that is meant") == 3 * 5 + 2 * 2
    assert set(versions(lab).values()) == {NEXT}
    web(lab, namespace)
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=BUDGET % 4)

    back = ("upgrade", TOPOLOGY, "--allow-downgrade", "--drain-seconds")
    held = lab.kybern(*back, "3", check=False)

    assert held.returncode == 1
    assert "stopped before worker-1, which is as it was and takes pods again" in held.stderr
    assert f"{namespace}/web-" in held.stderr
    assert "The disruption budget web needs 4 healthy pods and has 4 currently" in held.stderr
    assert cordoned(lab) == []
    masters = {master.name for master in lab.cluster.masters}
    assert {name for name, version in versions(lab).items() if version == VERSION} == masters

    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=BUDGET % 2)
    done = lab.kybern(*back, "120")

    # It goes on where it stopped.
    assert "master" not in done.stdout
    assert set(versions(lab).values()) == {VERSION}
    nothing_to_do(lab)


@pytest.fixture(autouse=True, scope="module")
def this_release(lab: Lab) -> Iterator[None]:
    """Whatever a failed test leaves, the tests that follow find the release of this tree."""
    yield
    if set(versions(lab).values()) != {VERSION}:
        lab.kybern("deploy", TOPOLOGY)
