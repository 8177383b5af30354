"""The script that makes a machine a member of etcd, against real members, and killed on its way."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roles.members import initial, listed, of_name
from roles.templates import render
from tests.protocol.conftest import CACHE, Etcd, etcd_binary, free_port

TOOLS = CACHE / "usr/bin"


class Joining(Etcd):
    """A machine that is to become a member: ``systemctl`` starts what its settings say."""

    name = "joining"

    def settings(self) -> Path:
        return self.directory / "etcd.env"

    def start(self) -> None:
        read = dict(line.split("=", 1) for line in self.settings().read_text().splitlines())
        peer = f"http://127.0.0.1:{self.peer}"
        self.process = subprocess.Popen(
            [
                self.binary, f"--name={self.name}", f"--data-dir={self.directory}/data", "--log-level=error",
                f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", "--unsafe-no-fsync",
            ],
            env={**os.environ, **read},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def script(self, etcdctl: str, add: bool, others: str, seconds: int = 30) -> str:
        return render(
            "etcd/join.sh",
            add=f"{etcdctl} member add {self.name} --learner --peer-urls=http://127.0.0.1:{self.peer}"
            if add
            else "",
            initial=others,
            bootstrap=str(self.settings()),
            unit="etcd.service",
            etcdctl=etcdctl,
            name=self.name,
            client=self.endpoint,
            seconds=seconds,
        ).decode()


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Etcd]:
    binary = etcd_binary()
    if not binary or not (TOOLS / "etcdctl").exists():
        pytest.skip("no etcd of at least 3.5 with etcdctl: run scripts/fetch-etcd")
    found = Etcd(binary, tmp_path / "first", free_port(), free_port())
    found.directory.mkdir()
    found.start()
    yield found
    found.stop()


@pytest.fixture
def joining(first: Etcd, tmp_path: Path) -> Iterator[Joining]:
    found = Joining(first.binary, tmp_path / "joining", free_port(), free_port())
    found.directory.mkdir()
    yield found
    found.stop()


def tool(member: Etcd, *words: str) -> str:
    command = [str(TOOLS / "etcdctl"), f"--endpoints={member.endpoint}", "--command-timeout=5s", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def run(
    joining: Joining, first: Etcd, add: bool, seconds: int = 30, starts: bool = True
) -> "subprocess.Popen[str]":
    """The script under way; ``systemctl`` leaves a note for the test, which starts the member."""
    programs = joining.directory / "programs"
    programs.mkdir(exist_ok=True)
    note = f"[ $1 != start ] || touch {joining.directory}/started" if starts else "true"
    for name, text in (("systemctl", note), ("journalctl", "echo its last words")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    (joining.directory / "started").unlink(missing_ok=True)
    members = listed(tool(first, "member", "list", "-w", "json"))
    others = initial(members, joining.name, f"http://127.0.0.1:{joining.peer}")
    etcdctl = f"etcdctl --endpoints={first.endpoint} --command-timeout=5s"
    return subprocess.Popen(
        ["sh", "-c", joining.script(etcdctl, add, others, seconds)],
        env={**os.environ, "PATH": f"{programs}:{TOOLS}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_started(joining: Joining) -> None:
    deadline = time.monotonic() + 20
    while not (joining.directory / "started").exists():
        assert time.monotonic() < deadline, "the script does not start the member"
        time.sleep(0.05)


def votes(first: Etcd, joining: Joining) -> bool:
    members = listed(tool(first, "member", "list", "-w", "json"))
    own = of_name(members, joining.name, f"http://127.0.0.1:{joining.peer}")
    return own is not None and bool(own.name) and not own.learner


def test_a_machine_becomes_a_member_that_votes_and_has_what_the_others_have(
    first: Etcd, joining: Joining
) -> None:
    tool(first, "put", "a", "1")
    script = run(joining, first, add=True)
    until_started(joining)
    joining.start()

    _, told = script.communicate(timeout=60)
    assert script.returncode == 0, told
    assert votes(first, joining)
    assert tool(joining, "get", "a", "--print-value-only").strip() == "1"
    assert joining.settings().read_text().splitlines() == [
        "ETCD_INITIAL_CLUSTER_STATE=existing",
        f"ETCD_INITIAL_CLUSTER=test=http://127.0.0.1:{first.peer},joining=http://127.0.0.1:{joining.peer}",
    ]


def test_one_that_comes_at_once_after_another_waits_until_etcd_lets_it_in(
    first: Etcd, joining: Joining, tmp_path: Path
) -> None:
    third = Joining(first.binary, tmp_path / "third", free_port(), free_port())
    third.name = "third"
    third.directory.mkdir()
    try:
        for each in (joining, third):
            script = run(each, first, add=True)
            until_started(each)
            each.start()
            _, told = script.communicate(timeout=60)
            assert script.returncode == 0, told
            assert votes(first, each)
    finally:
        third.stop()


def test_one_that_was_killed_before_it_started_goes_on(first: Etcd, joining: Joining) -> None:
    script = run(joining, first, add=True)
    until_started(joining)
    script.kill()
    script.communicate(timeout=10)
    assert not votes(first, joining)

    again = run(joining, first, add=False)
    until_started(joining)
    joining.start()

    _, told = again.communicate(timeout=60)
    assert again.returncode == 0, told
    assert votes(first, joining)


def test_one_that_never_starts_costs_no_vote_and_is_told_with_its_log(first: Etcd, joining: Joining) -> None:
    script = run(joining, first, add=True, seconds=2)

    _, told = script.communicate(timeout=60)
    assert script.returncode == 1
    assert "joining does not catch up with the other members of etcd: it has not started" in told
    assert "its last words" in told
    tool(first, "put", "a", "1")
