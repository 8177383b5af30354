"""The steps of a recovery on machines that exist only as facts, and their scripts on real files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kybern.machines import backups
from kybern.machines.backups import Snapshot
from kybern.machines.restoring import Restoring
from kybern.machines.topology import Cluster, Machine
from roles import recover, restore
from roles.snapshots import SCRIPT, checked
from roles.templates import render
from tests.roles.conftest import master
from tests.roles.harness import FakeMachine, Run, apply


def start(_cluster: Cluster, _machine: Machine) -> None:
    recover.started()


def aside(_cluster: Cluster, _machine: Machine) -> None:
    recover.data_set_aside()


def test_etcd_is_started_and_not_waited_for(cluster: Cluster) -> None:
    fake = FakeMachine("m1")

    assert apply(start, cluster, master(1), fake) == ["recover | etcd started"]
    assert "systemctl start --no-block etcd.service" in fake.commands[-1]
    assert apply(start, cluster, master(1), fake) == []


def test_data_are_set_aside_once(cluster: Cluster) -> None:
    fake = FakeMachine("m1")

    assert apply(aside, cluster, master(1), fake) == ["recover | Data set aside"]
    assert apply(aside, cluster, master(1), fake) == []


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of ours in front of the machine's."""
    found = tmp_path / "bin"
    found.mkdir()
    (found / "systemctl").write_text("#!/bin/sh\nexit 0\n")
    (found / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{found}:/usr/bin:/bin")
    return found


def run(script: bytes) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", script.decode()], check=False, capture_output=True, text=True, timeout=20
    )


@pytest.mark.usefixtures("tools")
def test_data_are_moved_and_never_removed(tmp_path: Path) -> None:
    data, note = tmp_path / "etcd", tmp_path / "was-member"
    (data / "member/wal").mkdir(parents=True)
    (data / "member/wal/0.wal").write_text("precious")
    note.touch()
    script = render("etcd/aside.sh", data=data, was_member=note)

    assert run(script).returncode == 0
    assert [path.read_text() for path in data.glob("before-*/wal/0.wal")] == ["precious"]
    assert not note.exists()
    # It may have been killed before it came to its end.
    assert run(script).returncode == 0
    assert len([*data.iterdir()]) == 1


@pytest.mark.usefixtures("tools")
def test_data_that_etcd_does_not_start_with_are_told_and_left(tmp_path: Path, tools: Path) -> None:
    data, folder = tmp_path / "etcd", tmp_path / "snapshots"
    (data / "member/wal").mkdir(parents=True)
    folder.mkdir()
    for name, text in (("etcd", "echo 'walpb: crc mismatch'; exit 1"), ("etcdctl", "exit 1")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    done = run(
        render("etcd/salvage.sh", name="m1", data=data, folder=folder, script=SCRIPT, quota=1, seconds=5)
    )

    assert done.returncode == 1
    assert "etcd does not start with these data of m1" in done.stderr
    assert "walpb: crc mismatch" in done.stderr
    assert (data / "member/wal").is_dir()
    assert [*folder.iterdir()] == []


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    (tmp_path / "a.db").write_bytes(b"x")
    (tmp_path / "a.json").write_text(json.dumps({"revision": 4711}))
    (tmp_path / "a.sha256").write_text(f"{backups.digest_of(tmp_path / 'a.db')}  a.db\n")
    return backups.read(tmp_path / "a.db")


def test_only_those_that_are_left_become_the_new_cluster(
    cluster: Cluster, state: Path, snapshot: Snapshot
) -> None:
    going = Restoring.begin(state / "test", snapshot, ("m1", "m3"))
    fake = FakeMachine("m1")

    role: Any = restore.restored
    apply(lambda cluster, machine: role(cluster, machine, going), cluster, master(1), fake)

    (script,) = [command for command in fake.commands if "snapshot restore" in command]
    assert "--initial-cluster=m1=https://10.1.0.11:2380,m3=https://10.1.0.13:2380 " in script
    assert f"mv /var/lib/etcd/member /var/lib/etcd/before-{going.stamp}" in script


def test_members_and_api_servers_start_where_they_have_been_before(cluster: Cluster) -> None:
    fake = FakeMachine("m1")

    writes: Any = restore.writes_go_on

    def again(_cluster: Cluster, machine: Machine) -> None:
        restore.member_started()
        writes(machine)

    assert apply(again, cluster, master(1), fake) == [
        "restore | etcd started",
        "restore | API server's pod given back",
        "restore | API server started",
    ]
    assert [question for question in fake.asked if "[ ! -e /etc/systemd/system/etcd.service ]" in question]
    assert apply(again, cluster, master(1), fake) == []


def test_a_copy_is_checked_with_its_checksum_and_revision(cluster: Cluster, snapshot: Snapshot) -> None:
    fake = FakeMachine("m1")
    made = Run([fake])
    fetched: list[str] = []

    def fetch(source: str, *_: Any, **_more: Any) -> bool:
        fetched.append(source)
        return True

    connector: Any = made.hosts[0].connector
    connector.get_file = fetch
    role: Any = checked
    made.prepare(lambda _cluster, _machine: role(snapshot, 2048), cluster, [master(1)])
    made.execute()

    (script,) = [command for command in fake.commands if "sha256sum" in command]
    assert snapshot.digest in script
    assert "4711" in script
    assert "--force-new-cluster" in script
    assert len(fetched) == 1
