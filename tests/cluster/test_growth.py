"""A cluster grows from one master to three at once and shrinks to one again; its API is asked ten times a second.

It is a small cluster of its own. Its topology is a file outside of the inventories, edited between the commands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import Lab
from tests.cluster.kernel_state import LOOK, ours
from tests.cluster.test_days_after import MOVES, asking, members

pytestmark = pytest.mark.operations
NAME = "growth"
MASTERS = {"master-1": "10.66.0.11", "master-2": "10.66.0.12", "master-3": "10.66.0.13"}
ALONE = 40  # questions, while the only API server starts again with other flags: nobody else can answer
SETTINGS = {
    "cluster": NAME,
    "network": "10.66.0.0/24",
    "vip": "10.66.0.10",
    "pods": "10.247.0.0/16",
    "services": "10.99.0.0/16",
    "defaults": {"memory": "1GiB", "cpus": 2, "disk": "10GiB"},
}


def write(file: Path, *masters: str) -> None:
    """A topology of these masters and one worker."""
    machines = [
        {"name": name, "address": MASTERS[name], "roles": ["etcd", "control-plane"]} for name in masters
    ]
    worker = {"name": "worker-1", "address": "10.66.0.21", "roles": ["worker"]}
    file.write_text(yaml.safe_dump({**SETTINGS, "machines": [*machines, worker]}))


@dataclass(frozen=True)
class Growing:
    """The cluster, and the file that says what belongs to it now."""

    lab: Lab
    file: Path

    def deploy(self, *masters: str) -> None:
        """Deploy with these masters, see that nobody else is one, and that nothing is left to do."""
        write(self.file, *masters)
        self.lab.kybern("deploy", str(self.file))
        assert members(self.lab, masters[0]) == set(masters)
        nodes = {*masters, "worker-1"}
        self.lab.eventually("its nodes are ready", lambda: self.lab.nodes_ready() == nodes)
        assert f"0 changes on {len(nodes)} machines" in self.lab.kybern("deploy", str(self.file)).stdout

    def remove(self, master: str) -> None:
        """Take a master out, and see that nothing of the cluster is left on it. Its line stays in the topology."""
        self.lab.kybern("remove", str(self.file), master)
        assert ours(self.lab.ssh(master, LOOK)) == []


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Growing]:
    """All machines are up; the first master is deployed, with the worker."""
    if State.of(NAME).directory.exists():
        pytest.fail(f"there is a cluster {NAME} already: take it down first")
    file = tmp_path_factory.mktemp(NAME) / f"{NAME}.yaml"
    write(file, *MASTERS)
    found = Growing(Lab(load(file)), file)
    try:
        found.lab.kybern("machines", "up", str(file), seconds=900)
        found.deploy("master-1")
        yield found
    finally:
        write(file, *MASTERS)
        found.lab.kybern("machines", "down", str(file), check=False)


def test_one_master_becomes_three_at_once_and_one_again(growing: Growing) -> None:
    with asking(growing.lab) as asked:
        growing.deploy(*MASTERS)
    print("1 to 3:", asked)  # noqa: T201
    assert len(asked.failures) <= MOVES, asked
    assert asked.answers > 100

    # Two members of etcd are no topology, so both leave before it is deployed again.
    with asking(growing.lab) as asked:
        growing.remove("master-3")
        growing.remove("master-2")
    print("3 to 1:", asked)  # noqa: T201
    assert len(asked.failures) <= MOVES, asked

    with asking(growing.lab) as asked:
        growing.deploy("master-1")
    print("the last one is told:", asked)  # noqa: T201
    assert len(asked.failures) <= ALONE, asked
