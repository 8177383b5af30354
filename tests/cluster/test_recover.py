"""etcd loses members, machines, its quorum and all of its data, and comes back by ``kybern recover``.

It is a small cluster of its own: three masters. How long each case took is printed.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import yaml

from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import KYBERN, Lab
from tests.cluster.test_days_after import MOVES, asking, members

pytestmark = pytest.mark.operations
NAME = "recover"
MASTERS = {"master-1": "10.64.0.11", "master-2": "10.64.0.12", "master-3": "10.64.0.13"}
SETTINGS = {
    "cluster": NAME,
    "network": "10.64.0.0/24",
    "vip": "10.64.0.10",
    "pods": "10.246.0.0/16",
    "services": "10.100.0.0/16",
    "defaults": {"memory": "1GiB", "cpus": 2, "disk": "10GiB"},
    "machines": [
        {"name": name, "address": address, "roles": ["etcd", "control-plane"]}
        for name, address in MASTERS.items()
    ],
}
GONE = "systemctl stop etcd; rm -rf /var/lib/etcd/member"
MINUTES = 2 * 60  # seconds that a cluster without any data may take to answer again
SMALL = 192  # MiB of the disk that is filled


@dataclass(frozen=True)
class Losing:
    """The cluster, and its topology's file."""

    lab: Lab
    file: str

    def recover(self, *words: str, seconds: int = 900) -> str:
        return self.lab.kybern("recover", self.file, "--yes", *words, seconds=seconds).stdout

    def refused(self, *words: str) -> str:
        done = self.lab.kybern("recover", self.file, "--yes", *words, check=False)
        assert done.returncode == 1
        return done.stderr

    def on(self, machines: Iterator[str] | list[str], command: str) -> None:
        for machine in machines:
            self.lab.ssh(machine, command)

    def whole(self) -> None:
        """All three vote, all nodes are ready, and a deploy finds nothing to do."""
        assert members(self.lab, "master-1") == set(MASTERS)
        self.lab.eventually(
            "its nodes are ready", lambda: self.lab.nodes_ready() == set(MASTERS), seconds=120
        )
        assert "0 changes on 3 machines" in self.lab.kybern("deploy", self.file).stdout

    def start(self, *machines: str) -> None:
        for machine in machines:
            self.lab.kybern("machines", "start", self.file, machine)
        for machine in machines:
            self.lab.eventually("SSH answers", partial(self.speaks, machine))

    def speaks(self, machine: str) -> bool:
        return not self.lab.ssh(machine, "true", seconds=5)

    @contextmanager
    def precious(self, name: str) -> Iterator[None]:
        """Something that is written before, and is to be there afterwards as the same."""
        self.lab.kubectl("create", "configmap", name)
        uid = self.lab.get("configmap", name)["metadata"]["uid"]
        yield
        assert self.lab.get("configmap", name)["metadata"]["uid"] == uid
        self.lab.kubectl("delete", "configmap", name)


@pytest.fixture(scope="module")
def losing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Losing]:
    kept = bool(os.environ.get("KYBERN_KEEP"))
    if State.of(NAME).directory.exists() and not kept:
        pytest.fail(f"there is a cluster {NAME} already: take it down first")
    file = tmp_path_factory.mktemp(NAME) / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    found = Losing(Lab(load(file)), str(file))
    try:
        found.lab.kybern("machines", "up", found.file, seconds=900)
        found.lab.kybern("deploy", found.file, seconds=900)
        yield found
    finally:
        if not kept:
            found.lab.kybern("machines", "down", found.file, check=False)


def test_a_cluster_that_is_well_is_left_alone(losing: Losing) -> None:
    assert "nothing to recover" in losing.recover()
    assert "master-3 is said to be dead, and answers by SSH" in losing.refused("--dead", "master-3")
    assert members(losing.lab, "master-1") == set(MASTERS)


def test_one_of_three_loses_its_data_and_no_request_fails(losing: Losing) -> None:
    with losing.precious("one"):
        losing.on(["master-1"], GONE)
        with asking(losing.lab) as asked:
            told = losing.recover()
        print("one of three:", asked)  # noqa: T201
        assert "the data of master-1 were set aside, master-1 joined" in told
        assert len(asked.failures) <= MOVES, asked
        assert asked.answers > 50
    losing.whole()


def test_a_dead_machine_is_forgotten_when_it_is_said_and_taken_in_again(losing: Losing) -> None:
    losing.lab.kybern("machines", "kill", losing.file, "master-3")
    try:
        assert "kybern recover " in losing.refused()
        losing.recover("--dead", "master-3")
        assert members(losing.lab, "master-1") == {"master-1", "master-2"}
    finally:
        losing.start("master-3")
    # It comes with the data of when it was a member, and without knowing that it is none.
    losing.recover()
    losing.whole()


def test_two_of_three_lose_their_data_and_the_third_one_s_are_everybody_s(losing: Losing) -> None:
    with losing.precious("two"):
        losing.on(["master-1", "master-2"], GONE)
        with answering_again(losing, "two of three, data"):
            assert "the data of master-3 became everybody's" in losing.recover()
        kept = losing.lab.ssh("master-3", "ls -d /var/lib/etcd/before-*/wal")
        assert kept
    losing.whole()


def test_two_of_three_are_dead_and_the_third_one_was_started_anew(losing: Losing) -> None:
    """Started without a quorum it answers no client: a snapshot cannot be asked of it."""
    with losing.precious("dead"):
        for machine in ("master-2", "master-3"):
            losing.lab.kybern("machines", "kill", losing.file, machine)
        try:
            losing.on(["master-1"], "systemctl kill -s KILL etcd")
            assert "--dead master-2 --dead master-3" in losing.refused()
            with answering_again(losing, "two of three, dead"):
                losing.recover("--dead", "master-2", "--dead", "master-3")
            assert members(losing.lab, "master-1") == {"master-1"}
        finally:
            losing.start("master-2", "master-3")
        losing.recover()
    losing.whole()


def test_all_data_are_gone_and_the_newest_snapshot_is_found_on_a_machine(losing: Losing) -> None:
    with losing.precious("all"):
        losing.on(["master-2"], "systemctl start kybern-snapshot.service")
        losing.on(list(MASTERS), GONE)
        assert "--lose-writes" in losing.refused()
        with answering_again(losing, "all data") as took:
            losing.recover("--lose-writes")
        assert took[0] < MINUTES
    losing.whole()


def test_a_recovery_that_is_killed_goes_on(losing: Losing) -> None:
    with losing.precious("killed"):
        losing.on(["master-1", "master-2"], GONE)
        # It looks for ten seconds before it begins, so the first is killed in its first steps, the second further on.
        for after in (15.0, 25.0):
            run = subprocess.Popen(
                [str(KYBERN), "recover", losing.file, "--yes", "--break-lock"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert run.wait(after) == 0
                assert after > 15.0, "nothing was killed"
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait(10)
        losing.recover("--break-lock")
    losing.whole()


def test_a_full_disk_is_told_and_costs_no_data(losing: Losing) -> None:
    full = (
        "systemctl stop etcd && cp -a /var/lib/etcd/member /var/lib/etcd-kept && "
        f"mount -t tmpfs -o size={SMALL}m,mode=700 none /var/lib/etcd && chown etcd:etcd /var/lib/etcd && "
        "cp -a /var/lib/etcd-kept /var/lib/etcd/member && systemctl start etcd && "
        "dd if=/dev/zero of=/var/lib/etcd/filler bs=1M 2>/dev/null; test -e /var/lib/etcd/filler"
    )
    with losing.precious("full"):
        losing.on(["master-2"], full)
        losing.lab.ssh("master-2", "systemctl kill -s KILL etcd")
        standing = json.loads(losing.lab.kybern("status", losing.file, "-o", "json", check=False).stdout)
        assert any("the disk of etcd is full" in each for each in standing["wrong"]), standing
        assert losing.lab.get("nodes")
        losing.on(["master-2"], "rm /var/lib/etcd/filler")
        losing.recover()
        losing.on(
            ["master-2"],
            "systemctl stop etcd && rm -rf /var/lib/etcd-kept && cp -a /var/lib/etcd/member /var/lib/etcd-kept && "
            "umount /var/lib/etcd && rm -rf /var/lib/etcd/member && mv /var/lib/etcd-kept /var/lib/etcd/member && "
            "systemctl start etcd",
        )
    losing.whole()


@contextmanager
def answering_again(losing: Losing, what: str) -> Iterator[list[float]]:
    """How long it takes from the command until the API has answered for good, and until the command ends."""
    found: list[float] = []
    began = time.monotonic()
    with asking(losing.lab) as asked:
        yield found
        ended = time.monotonic() - began
    found.append(asked.longest)
    print(f"{what}: without an answer {asked.longest:.0f} s, in all {ended:.0f} s")  # noqa: T201
