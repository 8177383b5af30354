"""The scripts that take snapshots of etcd and set it back to one, run against a real etcd, and killed at every step."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.machines import backups
from roles.templates import render
from tests.protocol.conftest import CACHE, Etcd, etcd_binary, free_port

TOOLS = CACHE / "usr/bin"
BUMP = 1_000_000
PROGRAMS = ("mv", "rm", "mkdir", "chown", "sync", "etcdutl", "systemctl", "sha256sum")


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Etcd]:
    binary = etcd_binary()
    if not binary or not (TOOLS / "etcdctl").exists():
        pytest.skip("no etcd of at least 3.5 with etcdctl: run scripts/fetch-etcd")
    found = Etcd(binary, tmp_path / "etcd", free_port(), free_port())
    (tmp_path / "etcd/data").mkdir(parents=True)
    found.start()
    yield found
    found.stop()


def tool(member: Etcd, *words: str) -> str:
    command = [str(TOOLS / "etcdctl"), f"--endpoints={member.endpoint}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def write(member: Etcd, **values: str) -> None:
    for key, value in values.items():
        tool(member, "put", key, value)


def everything(member: Etcd) -> dict[str, str]:
    lines = tool(member, "get", "", "--prefix").splitlines()
    return dict(zip(lines[::2], lines[1::2], strict=True))


def revision(member: Etcd) -> int:
    return int(json.loads(tool(member, "get", "none", "-w", "json"))["header"]["revision"])


def run(script: bytes, path: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:{TOOLS}:{os.environ['PATH']}".lstrip(":")}
    return subprocess.run(
        ["sh", "-c", script.decode()],
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def snapshot(member: Etcd, folder: Path, keep: int = 5, seconds: int = 20) -> Path:
    folder.mkdir(exist_ok=True)
    etcdctl = f"etcdctl --endpoints={member.endpoint}"
    told = run(render("etcd/snapshot.sh", etcdctl=etcdctl, folder=str(folder), keep=keep, seconds=seconds))
    return Path(told.stdout.splitlines()[-1])


def restore(member: Etcd, source: Path, digest: str) -> bytes:
    data = member.directory / "data"
    return render(
        "etcd/restore.sh",
        name="test",
        data=str(data),
        snapshot=str(source),
        digest=digest,
        initial=f"test=http://127.0.0.1:{member.peer}",
        token="test-stamp",  # etcd's word for the name of a cluster
        peer=f"http://127.0.0.1:{member.peer}",
        bump=BUMP,
        user="root",
        before=str(data / "before-stamp"),
        marker=str(member.directory / "kept/etcd-restored"),
        stamp="stamp",
    )


def kept(folder: Path) -> list[Path]:
    """All files there but the one that keeps two from taking snapshots at once."""
    return [path for path in folder.iterdir() if path.name != ".lock"]


def test_a_snapshot_is_whole_and_says_what_it_holds(member: Etcd, tmp_path: Path) -> None:
    write(member, a="1", b="2")

    taken = snapshot(member, tmp_path / "snapshots")

    found = backups.read(taken)
    assert found.revision == revision(member)
    assert found.size == taken.stat().st_size
    assert sorted(path.suffix for path in kept(taken.parent)) == [".db", ".json", ".sha256"]
    assert taken.stat().st_mode & 0o077 == 0


def test_old_snapshots_go_and_the_newest_stay(member: Etcd, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    for name in ("20200101T000000Z", "20200102T000000Z", "20200103T000000Z"):
        for suffix in (".db", ".json", ".sha256"):
            (folder / f"{name}{suffix}").write_text("old")

    taken = snapshot(member, folder, keep=2)

    assert sorted(path.stem for path in folder.glob("*.sha256")) == ["20200103T000000Z", taken.stem]
    assert len(kept(folder)) == 6


def test_without_etcd_nothing_is_left_behind(member: Etcd, tmp_path: Path) -> None:
    member.stop()
    with pytest.raises(subprocess.CalledProcessError) as failed:
        snapshot(member, tmp_path / "snapshots", seconds=1)
    assert "cannot take a snapshot: etcd does not give one within 1 s" in failed.value.stderr

    assert kept(tmp_path / "snapshots") == []


@pytest.fixture
def taken(member: Etcd, tmp_path: Path) -> tuple[Path, str]:
    """A snapshot with a=1; since then a=2, and b."""
    write(member, a="1")
    found = backups.read(snapshot(member, tmp_path / "snapshots"))
    write(member, a="2", b="later")
    member.stop()
    return found.path, found.digest


def arrived(member: Etcd, taken: tuple[Path, str]) -> Path:
    """As it is sent to a machine, anew at each attempt."""
    target = member.directory / "arrived"
    target.write_bytes(taken[0].read_bytes())
    return target


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """What the script calls, where each call is counted, and the one that FAIL names fails in place of running."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in PROGRAMS:
        real = "true" if name == "systemctl" else f'PATH="{TOOLS}:/usr/bin:/bin" {name} "$@"'
        text = f'#!/bin/sh\necho {name} >>{tmp_path}/calls\n[ "$(wc -l <{tmp_path}/calls)" != "$FAIL" ] || exit 9\n{real}\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def test_a_member_is_what_it_was_and_its_revisions_go_on(
    member: Etcd, taken: tuple[Path, str], programs: Path
) -> None:
    run(restore(member, arrived(member, taken), taken[1]), str(programs))
    member.start()

    assert everything(member) == {"a": "1"}
    assert revision(member) > BUMP
    # Whoever watched before has to list again.
    watch = subprocess.run(
        [str(TOOLS / "etcdctl"), f"--endpoints={member.endpoint}", "watch", "a", "--rev=3"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "compacted" in watch.stdout + watch.stderr
    assert (member.directory / "data/before-stamp/snap/db").exists()
    assert (member.directory / "kept/etcd-restored").read_text() == "stamp\n"


def test_a_restore_killed_at_any_step_is_finished_by_the_next(
    member: Etcd, taken: tuple[Path, str], programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    run(restore(member, arrived(member, taken), taken[1]), str(programs))
    steps = len(calls.read_text().splitlines())
    assert steps >= 10
    before, data = member.directory / "data/before-stamp", member.directory / "data/member"
    for step in range(1, steps + 1):
        # As before the restore: with data, and nothing moved aside.
        subprocess.run(["rm", "-rf", str(data)], check=True)
        before.rename(data)
        was = (data / "snap/db").read_bytes()
        calls.unlink()
        monkeypatch.setenv("FAIL", str(step))
        run(restore(member, arrived(member, taken), taken[1]), str(programs), check=False)
        assert (before if before.exists() else data).joinpath("snap/db").read_bytes() == was, step
        monkeypatch.setenv("FAIL", "0")
        run(restore(member, arrived(member, taken), taken[1]), str(programs))
        assert (before / "snap/db").read_bytes() == was, step
        member.start()
        assert everything(member) == {"a": "1"}, step
        member.stop()


def test_a_machine_without_data_takes_the_snapshot_too(
    member: Etcd, taken: tuple[Path, str], programs: Path
) -> None:
    subprocess.run(["rm", "-rf", str(member.directory / "data/member")], check=True)

    run(restore(member, arrived(member, taken), taken[1]), str(programs))
    member.start()

    assert everything(member) == {"a": "1"}


def test_a_snapshot_that_was_damaged_on_its_way_touches_nothing(
    member: Etcd, taken: tuple[Path, str], programs: Path
) -> None:
    target = arrived(member, taken)
    target.write_bytes(target.read_bytes()[:-512])

    assert run(restore(member, target, taken[1]), str(programs), check=False).returncode
    member.start()
    assert everything(member) == {"a": "2", "b": "later"}
