"""``kybern recover``, with machines that only say what they are: which deploys run where, and what is remembered."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kybern.cli import machines, recover
from kybern.machines import backups
from kybern.machines.errors import MachineError
from kybern.machines.etcd_seen import Known, Seen
from kybern.machines.restoring import Restoring
from kybern.machines.topology import Cluster, Machine

ROOT = Path(__file__).parents[3]
ALL = tuple(Known(f"master-{number}") for number in (1, 2, 3))
VOTES = Seen(answers=True, running=True, data=True, leader=True, revision=7, members=ALL, free=9000)
EMPTY = Seen(answers=True, free=9000)


class Bed:
    """``looks`` are what machines say, one after the other; the last one stays."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "lab"
        self.folder.mkdir()
        self.note = self.folder / "etcd-bootstrapped"
        self.note.write_text("master-1\nmaster-2\nmaster-3\n")
        self.looks: list[tuple[Seen, Seen, Seen]] = []
        self.ran: list[str] = []
        self.held: list[str] = []

    async def look(self, _cluster: Cluster, _started: object) -> dict[str, Seen]:
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {known.name: one for known, one in zip(ALL, found, strict=True)}

    def deploy(self, _topology: str, _cluster: Cluster, more: Any = (), verb: str = "cluster") -> None:
        words = " ".join(word for word in more if word not in ("--limit", "--data"))
        self.ran.append(f"{verb} {words} [{self.note.read_text().replace('master-', '').split()}]")
        if "step=salvage" in words:
            self.snapshot("20260101T000000Z")

    def snapshot(self, name: str) -> None:
        place = self.folder / "backups"
        place.mkdir(exist_ok=True)
        (place / f"{name}.db").write_bytes(b"x")
        (place / f"{name}.json").write_text(json.dumps({"revision": 7}))
        (place / f"{name}.sha256").write_text(f"{hashlib.sha256(b'x').hexdigest()}  {name}.db\n")


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    found = Bed(tmp_path)

    @contextmanager
    def hold(cluster: Cluster, *_: Any) -> Iterator[None]:
        found.held += [each.name for each in cluster.machines]
        yield

    def answering(asked: tuple[Machine, ...]) -> tuple[Machine, ...]:
        dead = [known.name for known, one in zip(ALL, found.looks[0], strict=True) if not one.answers]
        return tuple(each for each in asked if each.name not in dead)

    monkeypatch.setattr(recover, "look", found.look)
    monkeypatch.setattr(recover, "run_deploy", found.deploy)
    monkeypatch.setattr(recover, "holding", hold)
    monkeypatch.setattr(recover, "answering", answering)
    return found


def test_nothing_is_done_where_all_is_well(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.looks = [(VOTES, VOTES, VOTES)]

    recover.recover("lab")

    assert bed.ran == []
    assert "nothing to recover" in capsys.readouterr().out


def test_one_without_data_is_forgotten_before_it_joins(bed: Bed) -> None:
    others = replace(VOTES, members=ALL[:2])
    bed.looks = [(VOTES, VOTES, EMPTY), (others, others, EMPTY), (VOTES, VOTES, VOTES)]

    recover.recover("lab")

    assert bed.ran == [
        "remove leaving=master-3 master-1 master-2 [['1', '2', '3']]",
        "recover step=aside master-3 [['1', '2']]",
        "recover step=aside master-3 [['1', '2']]",
        "cluster  [['1', '2']]",
    ]


def test_two_dead_machines_are_left_out_of_everything_that_follows(bed: Bed) -> None:
    alone, one = replace(VOTES, leader=False), replace(VOTES, members=ALL[:1])
    bed.looks = [(alone, Seen(), Seen()), (one, Seen(), Seen())]

    recover.recover("lab", dead=["master-2", "master-3"], yes=True)

    assert bed.ran == [
        "recover step=salvage master-1 [['1', '2', '3']]",
        "restore master-1 worker-1 worker-2 [['1', '2', '3']]",
        "cluster master-1 worker-1 worker-2 [['1']]",
    ]
    assert bed.held == ["master-1"]
    assert not (bed.folder / "restoring.json").exists()


def test_what_is_refused_changes_nothing(bed: Bed) -> None:
    bed.looks = [(replace(VOTES, leader=False), Seen(), Seen())]

    with pytest.raises(MachineError, match=r"cannot recover lab: .*--dead master-2 --dead master-3"):
        recover.recover("lab", yes=True)
    assert bed.ran == []


def test_a_silent_member_of_a_quorum_is_told_and_the_command_fails(bed: Bed) -> None:
    bed.looks = [(VOTES, VOTES, Seen())]

    with pytest.raises(
        MachineError, match=r"master-3 does not answer by SSH; .*kybern recover lab --dead master-3"
    ):
        recover.recover("lab")


def test_a_recovery_that_was_killed_between_its_deploys_goes_on_under_its_stamp(bed: Bed) -> None:
    bed.looks = [(replace(VOTES, leader=False), EMPTY, EMPTY)]
    bed.snapshot("20260101T000000Z")
    given = bed.folder / "backups/20260101T000000Z.db"
    begun = Restoring.begin(bed.folder, backups.read(given), [each.name for each in ALL])
    stopped = Seen(answers=True, data=True, restored=begun.stamp, free=9000)
    bed.looks = [(stopped, EMPTY, EMPTY), (VOTES, VOTES, VOTES)]

    recover.recover("lab")

    assert [each.split()[0] for each in bed.ran] == ["restore", "cluster"]
    assert not (bed.folder / "restoring.json").exists()


def test_a_recovery_that_was_overtaken_is_not_gone_on_with(bed: Bed) -> None:
    (bed.folder / "restoring.json").write_text(json.dumps({"stamp": "X", "members": ["master-1"]}))
    bed.looks = [(replace(VOTES, restored="X"), VOTES, VOTES)]

    recover.recover("lab")

    assert bed.ran == []
    assert not (bed.folder / "restoring.json").exists()


def test_a_cluster_that_was_never_deployed_has_nothing_to_recover(bed: Bed) -> None:
    bed.note.unlink()

    with pytest.raises(MachineError, match="it was never deployed"):
        recover.recover("lab")
    assert machines.read("lab", None).name == "lab"


ALONE = replace(VOTES, members=ALL[:1])
NO_LEADER = replace(VOTES, leader=False)


@pytest.mark.parametrize(
    ("seen", "rest"),
    [
        ((VOTES, VOTES, VOTES), True),
        ((VOTES, VOTES, EMPTY), True),
        ((VOTES, EMPTY, EMPTY), False),
        ((VOTES, Seen(), Seen()), False),
        ((ALONE, EMPTY, EMPTY), True),
        ((NO_LEADER, EMPTY, EMPTY), False),
        ((EMPTY, EMPTY, EMPTY), True),
    ],
)
def test_a_leader_that_a_minority_believes_in_is_looked_at_again(seen: tuple[Seen, ...], rest: bool) -> None:
    found = {known.name: one for known, one in zip(ALL, seen, strict=True)}

    assert recover.at_rest(found, ()) is rest
