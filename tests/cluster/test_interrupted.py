"""Verbs that are cut off in their middle, in three ways each, and run again: the cluster is then what it was to become.

The operator's process is killed; all SSH sessions of a machine end; a machine loses its power. It is a small cluster of its
own, of a master and a worker.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import yaml

from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import KYBERN, Lab
from tests.cluster.kernel_state import LOOK, ours

pytestmark = [pytest.mark.operations, pytest.mark.timeout(1200)]

NAME = "interrupted"
MASTER, WORKER = "master-1", "worker-1"
BOTH = {MASTER, WORKER}
SETTINGS = {
    "cluster": NAME,
    "network": "10.57.0.0/24",
    "defaults": {"memory": "2GiB", "cpus": 2, "disk": "10GiB"},
    "machines": [
        {"name": MASTER, "address": "10.57.0.11", "roles": ["etcd", "control-plane"]},
        {"name": WORKER, "address": "10.57.0.21", "roles": ["worker"]},
    ],
}
PATIENCE = 400  # seconds for a run to notice what happened to it


@dataclass(frozen=True)
class Verb:
    """``moment``: what the line of its progress has in it at which it is cut off. ``victim``: on which machine.

    ``leaves`` are the nodes afterwards; ``before`` are commands that give it something to do.
    """

    words: tuple[str, ...]
    moment: str
    victim: str
    leaves: frozenset[str] = frozenset(BOTH)
    before: tuple[tuple[str, ...], ...] = ()


# The topology stands behind the first words.
VERBS = {
    "deploy": Verb(("deploy",), "runtime | Running", WORKER, before=(("remove", WORKER),)),
    "remove": Verb(("remove", WORKER), "reset | Everything", WORKER, leaves=frozenset({MASTER})),
    "renew": Verb(("certificates renew", "--all"), "pki | Certificates", WORKER),
    "restore": Verb(("restore", "--yes"), "restore | Data replaced", MASTER, before=(("backup",),)),
    "reset": Verb(("reset", "--yes"), "reset | Everything", WORKER, leaves=frozenset()),
}


@dataclass(frozen=True)
class Broken:
    """The cluster, and the file of its topology."""

    lab: Lab
    file: str

    def command(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return (*words[0].split(), self.file, *words[1:])

    def kybern(self, *words: str) -> str:
        return self.lab.kybern(*self.command(words), seconds=900).stdout

    def whole(self) -> None:
        """As deployed, and nothing is left to do."""
        self.kybern("deploy")
        self.lab.eventually("both are ready", lambda: self.lab.nodes_ready() == BOTH, seconds=120)
        assert "0 changes on 2 machines" in self.kybern("deploy")

    def speaks(self, machine: str) -> bool:
        return not self.lab.ssh(machine, "true", seconds=5)

    def cut(self, words: tuple[str, ...], moment: str, cutting: Callable[[int], None]) -> int:
        """Run a verb, cut it off when its progress has come to ``moment``, and wait for its end. Gives its exit code."""
        with subprocess.Popen(
            [str(KYBERN), *self.command(words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as run:
            assert run.stdout is not None, "a pipe was asked for"
            said: list[str] = []
            try:
                for line in run.stdout:
                    said.append(line)
                    if moment in line:
                        break
                else:
                    pytest.fail(f'it never came to "{moment}":\n{"".join(said)}')
                cutting(run.pid)
                run.communicate(timeout=PATIENCE)
            except BaseException:
                run.kill()
                raise
        return run.returncode


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    if State.of(NAME).directory.exists():
        pytest.fail(f"there is a cluster {NAME} already: take it down first")
    file = tmp_path_factory.mktemp(NAME) / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    found = Broken(Lab(load(file)), str(file))
    try:
        found.lab.kybern("machines", "up", found.file, seconds=900)
        found.kybern("deploy")
        yield found
    finally:
        found.lab.kybern("machines", "down", found.file, check=False)


def ways(broken: Broken, machine: str) -> dict[str, Callable[[int], None]]:
    lab = broken.lab

    def operator(pid: int) -> None:
        subprocess.run(["kill", "-9", str(pid)], check=True)

    def sessions(_pid: int) -> None:
        lab.ssh(machine, "pkill -9 -f '^sshd-session: '", check=False)

    def power(_pid: int) -> None:
        lab.kybern("machines", "kill", broken.file, machine)

    return {"operator": operator, "ssh": sessions, "machine": power}


@pytest.mark.parametrize("way", ["operator", "ssh", "machine"])
@pytest.mark.parametrize("name", VERBS)
def test_what_is_cut_off_is_finished_by_the_same_command(broken: Broken, name: str, way: str) -> None:
    verb = VERBS[name]
    broken.whole()
    for words in verb.before:
        broken.kybern(*words)

    began = time.monotonic()
    try:
        code = broken.cut(verb.words, verb.moment, ways(broken, verb.victim)[way])
    finally:
        if way == "machine":
            broken.lab.kybern("machines", "start", broken.file, verb.victim)
            broken.lab.eventually("SSH answers", lambda: broken.speaks(verb.victim), seconds=120)
    # A short verb may have done all that it has to do on a machine before that loses its power: then it ends with 0.
    print(f"{name} cut off by the {way} ended with {code} after {time.monotonic() - began:.0f} s")  # noqa: T201

    broken.kybern(*verb.words, "--break-lock")

    if verb.leaves:
        broken.lab.eventually(
            "its nodes are ready", lambda: broken.lab.nodes_ready() == verb.leaves, seconds=120
        )
    for machine in BOTH - verb.leaves:
        assert ours(broken.lab.ssh(machine, LOOK)) == []
    broken.whole()
