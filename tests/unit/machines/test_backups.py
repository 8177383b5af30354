"""Snapshots on the operator's side: nothing counts that has not arrived whole, and nothing is used that has changed."""

import hashlib
import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kybern.machines import backups
from kybern.machines.errors import MachineError
from kybern.machines.restoring import Restoring
from kybern.machines.topology import Machine

STATUS = {"hash": 17, "revision": 4711, "totalKey": 812, "totalSize": 9}


def arrive(place: Path, name: str, content: bytes = b"all of it", digest: str = "") -> None:
    backups.prepare(place)
    folder = place / backups.ARRIVING
    (folder / "snapshot.db").write_bytes(content)
    (folder / "snapshot.json").write_text(json.dumps(STATUS))
    (folder / "snapshot.sha256").write_text(f"{digest or hashlib.sha256(content).hexdigest()}  {name}.db\n")


def test_what_arrived_is_kept_by_its_name_for_the_operator_alone(tmp_path: Path) -> None:
    arrive(tmp_path, "20261126T101500Z")
    backups.finish(tmp_path)

    (found,) = backups.known(tmp_path)
    assert (found.name, found.revision, found.size) == ("20261126T101500Z", 4711, 9)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}


def test_what_was_cut_off_is_not_kept(tmp_path: Path) -> None:
    arrive(tmp_path, "20261126T101500Z", content=b"half", digest=hashlib.sha256(b"whole").hexdigest())

    with pytest.raises(MachineError, match="cannot keep the snapshot"):
        backups.finish(tmp_path)
    assert backups.known(tmp_path) == ()


def test_one_that_was_interrupted_is_no_hindrance(tmp_path: Path) -> None:
    arrive(tmp_path, "20261126T101500Z")
    arrive(tmp_path, "20261126T103000Z")
    backups.finish(tmp_path)

    assert [each.name for each in backups.known(tmp_path)] == ["20261126T103000Z"]


def test_a_snapshot_that_has_changed_is_not_used(tmp_path: Path) -> None:
    arrive(tmp_path, "a")
    backups.finish(tmp_path)
    (tmp_path / "a.db").write_bytes(b"other")

    with pytest.raises(MachineError, match="its checksum is wrong"):
        backups.read(tmp_path / "a.db")


def test_a_snapshot_without_its_checksum_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"x")

    with pytest.raises(MachineError, match=r"needs a\.json and \.sha256 beside it"):
        backups.read(tmp_path / "a.db")


@pytest.fixture
def two(tmp_path: Path) -> tuple[backups.Snapshot, ...]:
    for name in ("a", "b"):
        arrive(tmp_path, name, content=name.encode())
        backups.finish(tmp_path)
    return backups.known(tmp_path)


def test_a_restore_that_was_interrupted_goes_on_under_its_stamp(
    tmp_path: Path, two: tuple[backups.Snapshot, ...]
) -> None:
    begun = Restoring.begin(tmp_path, two[0])
    note = json.loads(begun.note.read_text())
    begun.note.write_text(json.dumps({**note, "stamp": "before"}))

    assert Restoring.begin(tmp_path, two[0]).stamp == "before"
    assert Restoring.current(tmp_path).snapshot == two[0]


def test_a_restore_of_another_snapshot_is_another_one(
    tmp_path: Path, two: tuple[backups.Snapshot, ...]
) -> None:
    begun = Restoring.begin(tmp_path, two[0])
    note = json.loads(begun.note.read_text())
    begun.note.write_text(json.dumps({**note, "stamp": "before"}))

    assert Restoring.begin(tmp_path, two[1]).stamp != "before"
    assert Restoring.current(tmp_path).snapshot == two[1]


def test_one_that_has_ended_is_not_gone_on_with(tmp_path: Path, two: tuple[backups.Snapshot, ...]) -> None:
    Restoring.begin(tmp_path, two[0]).end()

    with pytest.raises(MachineError, match="kybern restore"):
        Restoring.current(tmp_path)


def test_a_recovery_is_for_those_that_are_left(tmp_path: Path, two: tuple[backups.Snapshot, ...]) -> None:
    roles = frozenset({"etcd"})
    left, lost = (Machine(name, IPv4Address("10.1.0.11"), roles) for name in ("m1", "m2"))
    begun = Restoring.begin(tmp_path, two[0], ("m1",))

    assert (begun.is_for(left), begun.is_for(lost)) == (True, False)
    assert Restoring.current(tmp_path) == begun
    assert Restoring.pending(tmp_path) == begun.stamp
    # For others it is another one.
    assert Restoring.begin(tmp_path, two[0]).members == ()


def test_a_restore_is_for_all_and_no_recovery_goes_on_with_it(
    tmp_path: Path, two: tuple[backups.Snapshot, ...]
) -> None:
    begun = Restoring.begin(tmp_path, two[0])

    assert begun.is_for(Machine("m1", IPv4Address("10.1.0.11"), frozenset({"etcd"})))
    assert not begun.is_for(Machine("w1", IPv4Address("10.1.0.21"), frozenset({"worker"})))
    assert Restoring.pending(tmp_path) == ""
    begun.end()
    assert Restoring.pending(tmp_path) == ""


def test_only_the_newest_are_kept_and_files_of_others_stay(
    tmp_path: Path, two: tuple[backups.Snapshot, ...]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "a.checked").write_text("{}")

    assert backups.prune(tmp_path, 2) == ()
    assert backups.prune(tmp_path, 1) == ("a",)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.db", "b.json", "b.sha256", "notes.txt"]


def test_a_test_restore_counts_for_the_very_file(tmp_path: Path, two: tuple[backups.Snapshot, ...]) -> None:
    note = tmp_path / "a.checked"
    assert two[0].checked == ""
    note.write_text(json.dumps({"keys": 17, "digest": two[0].digest}))
    assert two[0].checked == "17 keys"
    note.write_text(json.dumps({"keys": 17, "digest": two[1].digest}))
    assert two[0].checked == ""
