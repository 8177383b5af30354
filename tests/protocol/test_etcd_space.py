"""An etcd that has used up its quota takes writes again after what ``kybern defragment`` does to it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from kybern.machines.topology import Cluster, Machine
from roles import defragment as module
from roles.defragment import defragment
from tests.protocol.apiserver_bed import Lab
from tests.protocol.conftest import CACHE, Etcd, etcd_binary, free_port
from tests.roles.harness import FakeMachine, Run

TOOLS = CACHE / "usr/bin"
QUOTA = 3_000_000
ME = Machine("m1", IPv4Address("10.1.0.11"), frozenset({"etcd"}))
CLUSTER = Cluster("test", IPv4Network("10.1.0.0/24"), IPv4Address("10.1.0.1"), None, (ME,))


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etcd]:
    binary = etcd_binary()
    if not binary or not (TOOLS / "etcdctl").exists():
        pytest.skip("no etcd of at least 3.5 with etcdctl: run scripts/fetch-etcd")
    monkeypatch.setenv("ETCD_QUOTA_BACKEND_BYTES", str(QUOTA))
    found = Etcd(binary, tmp_path / "etcd", free_port(), free_port())
    found.start()
    ask = f"{TOOLS}/etcdctl --endpoints={found.endpoint}"
    monkeypatch.setattr(module, "etcdctl", lambda **_more: ask)
    monkeypatch.setattr(module, "ALL_HEALTHY", f"{ask} endpoint status")
    yield found
    found.stop()


def shell(command: str, *, check: bool = True) -> str:
    done = subprocess.run(
        ["sh", "-c", command], check=check, capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    return done.stdout


def ask(member: Etcd, words: str, *, check: bool = True) -> str:
    return shell(f"{TOOLS}/etcdctl --endpoints={member.endpoint} {words}", check=check)


def fill(member: Etcd) -> None:
    """Write one key over and over until there is no space for more."""
    value = member.directory / "value"
    value.write_bytes(b"v" * 900_000)
    for _ in range(8):
        ask(member, f"put key < {value}", check=False)


def commands_for(member: Etcd) -> list[str]:
    """What the role would run on this member as it is now."""
    questions = ("endpoint status -w json", "alarm list -w json")
    fake = FakeMachine("m1", answers={one: ask(member, one) for one in questions})
    run = Run([fake])
    role: Any = defragment
    run.prepare(lambda _cluster, machine: role(machine), CLUSTER, [ME])
    run.execute()
    return fake.commands


def test_it_takes_writes_again_and_keeps_what_was_written_last(member: Etcd) -> None:
    fill(member)
    assert "NOSPACE" in ask(member, "alarm list")
    assert ask(member, "put other value", check=False) == ""
    before = json.loads(ask(member, "endpoint status -w json"))[0]["Status"]["dbSize"]

    commands = commands_for(member)
    for command in commands:
        shell(command)

    after = json.loads(ask(member, "endpoint status -w json"))[0]["Status"]["dbSize"]
    # etcd refuses a write that would not fit, so its file may still be smaller than the quota by one.
    assert before > after
    assert after < QUOTA
    assert ask(member, "alarm list").strip() == ""
    assert ask(member, "put other value") == "OK\n"
    assert ask(member, "get key --print-value-only").strip() == "v" * 900_000
    # Killed before the end and run again: each command may be the second of its kind.
    for command in commands:
        shell(command)


def test_a_member_with_space_is_left_alone(member: Etcd) -> None:
    ask(member, "put key value")

    assert commands_for(member) == []


def test_an_api_server_reads_and_deletes_on_while_there_is_no_space(member: Etcd, tmp_path: Path) -> None:
    """What it writes for itself fails as well, over and over; it ended of that once."""
    place = tmp_path / "server"
    place.mkdir()
    lab = Lab(place, member)
    server = lab.start(free_port(), "--etcd-compaction-interval=1s")
    maps = "/api/v1/namespaces/default/configmaps"

    def write(name: str) -> tuple[int, Any]:
        return server.ask("POST", maps, {"metadata": {"name": name}, "data": {"a": "v" * 500_000}})

    try:
        written = [f"m{at}" for at in range(20) if write(f"m{at}")[0] == 201]
        code, refused = write("more")
        assert (code, refused["reason"]) == (500, "InternalError")
        assert refused["message"] == "etcdserver: mvcc: database space exceeded"
        for words in ("Cannot keep the endpoints of the API servers", "Cannot compact"):
            told(place / f"{server.port}.log", words)

        assert server.ask("GET", "/readyz")[0] == 200
        assert len(server.ask("GET", maps)[1]["items"]) >= len(written)
        for name in written[:-1]:
            assert server.ask("DELETE", f"{maps}/{name}")[0] == 200
        assert server.process.poll() is None
        for command in commands_for(member):
            shell(command)
        code, made = write("again")
        assert code == 201, made
    finally:
        lab.stop()


def told(log: Path, words: str) -> None:
    """Wait until a server's log has these words."""
    ends = time.monotonic() + 30
    while words not in log.read_text():
        assert time.monotonic() < ends, log.read_text()[-3000:]
        time.sleep(0.1)
