"""What ``kybern recover`` and ``kybern backup --check`` run on a machine, run on real data of a member that was killed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.machines import backups
from roles.membership import etcdctl
from roles.templates import render
from tests.protocol.conftest import CACHE, Etcd, etcd_binary, free_port

TOOLS = CACHE / "usr/bin"
KEYS = 5


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etcd]:
    """A member with some keys. Its machine has no systemd: what is stopped there is stopped here by the test."""
    binary = etcd_binary()
    if not binary or not (TOOLS / "etcdutl").exists():
        pytest.skip("no etcd of at least 3.5 with etcdutl: run scripts/fetch-etcd")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\n")
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{Path(binary).parent}:{TOOLS}:/usr/bin:/bin")
    found = Etcd(binary, tmp_path / "etcd", free_port(), free_port())
    found.start()
    for number in range(KEYS):
        sh(f"etcdctl --endpoints={found.endpoint} put key-{number} value")
    yield found
    found.stop()


def sh(script: str, *, code: int = 0) -> str:
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def taking(folder: Path) -> Path:
    """The script that takes snapshots, of a member that does not answer: another has to be named to it."""
    folder.mkdir()
    script = folder.parent / "snapshot"
    script.write_bytes(render("etcd/snapshot.sh", etcdctl=etcdctl(), folder=folder, keep=24, seconds=60))
    script.chmod(0o700)
    return script


def salvage(member: Etcd, folder: Path) -> str:
    return render(
        "etcd/salvage.sh",
        name="test",
        data=member.directory / "data",
        folder=folder,
        script=taking(folder),
        quota=2**30,
        seconds=30,
    ).decode()


def check(snapshot: backups.Snapshot, folder: Path, digest: str = "") -> str:
    copy = folder.parent / "arrived"
    copy.write_bytes(snapshot.path.read_bytes())
    return render(
        "etcd/check.sh",
        name="test",
        folder=folder,
        snapshot=copy,
        digest=digest or snapshot.digest,
        revision=snapshot.revision,
        result=folder.parent / "checked",
        quota=2**30,
        seconds=30,
    ).decode()


def test_data_of_a_killed_member_become_a_snapshot_that_a_test_restore_finds_whole(
    machine: Etcd, tmp_path: Path
) -> None:
    machine.stop()
    folder = tmp_path / "snapshots"

    path = Path(sh(salvage(machine, folder)).splitlines()[-1])

    found = backups.read(path)
    assert found.revision == KEYS + 1
    assert {each.suffix for each in folder.iterdir()} == {".db", ".json", ".sha256", ""}
    # Its own data are as they were: it starts with them.
    machine.start()
    assert "value" in sh(f"etcdctl --endpoints={machine.endpoint} get key-{KEYS - 1}")

    sh(check(found, folder))

    assert json.loads((tmp_path / "checked").read_text()) == {"keys": KEYS, "digest": found.digest}
    assert not (folder / ".check").exists()


def test_a_copy_that_has_changed_is_told(machine: Etcd, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    machine.stop()
    found = backups.read(Path(sh(salvage(machine, folder)).splitlines()[-1]))

    told = sh(check(found, folder, digest="0" * 64), code=1)

    assert "FAILED" in told or "did NOT match" in told
    assert not (tmp_path / "checked").exists()
    assert not (folder / ".check").exists()
