"""Journals: lines as steps end, whatever ends the run; a bound; and when one may be resumed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kybern.machines import journal
from kybern.machines.journal import Journal, Step

NOW = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
STEP = Step("2026-11-27T06:00:00Z", "etcd", "m1", "Files", 0.5, "changed", trips=2, inputs="abc")
FAILED = replace(STEP, machine="m2", result="failed", inputs="", command="mv a b", said=("no", "space"))


def test_a_journal_is_read_as_it_was_written_and_nobody_else_reads_it(tmp_path: Path) -> None:
    path = journal.begin(tmp_path, "cluster", ("lab",), NOW)
    journal.append(path, STEP)
    journal.append(path, FAILED)
    journal.end(path, "failed", NOW)

    assert journal.parsed(path.read_text()) == Journal("cluster", NOW, (STEP, FAILED), "failed", ("lab",))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("cut", [2, 20, 60])
def test_the_line_that_a_killed_run_did_not_finish_is_passed_over(tmp_path: Path, cut: int) -> None:
    path = journal.begin(tmp_path, "cluster", ("lab",), NOW)
    journal.append(path, STEP)
    journal.append(path, FAILED)

    assert journal.parsed(path.read_text()[:-cut]) == Journal("cluster", NOW, (STEP,), "", ("lab",))


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(journal.KEPT + 3):
        journal.begin(tmp_path, "cluster", ("lab",), NOW + timedelta(seconds=number))

    kept = journal.known(tmp_path)
    assert len(kept) == journal.KEPT
    assert kept[0].name.startswith("20261127T060003")


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (None, "there is no journal"),
        (Journal("cluster", NOW, (), "", ("lab",)), ""),
        (Journal("cluster", NOW, (), "failed", ("lab",)), ""),
        (Journal("cluster", NOW, (), "done", ("lab",)), "came to its end"),
        (Journal("restore", NOW, (), "", ("lab",)), 'the last run was "kybern restore lab"'),
        (Journal("cluster", NOW, (), "", ("ha5",)), 'the last run was "kybern cluster ha5"'),
        (Journal("cluster", NOW - timedelta(hours=2), (), "", ("lab",)), "machines may have changed since"),
    ],
)
def test_only_the_last_run_is_resumed_when_it_broke_and_is_not_long_ago(
    last: Journal | None, says: str
) -> None:
    why = journal.cannot_resume(last, "cluster", ("lab",), NOW)

    assert says in why
    assert bool(why) == bool(says)


def test_what_has_no_digest_of_its_inputs_or_failed_is_not_passed_over() -> None:
    steps = (STEP, FAILED, replace(STEP, machine="m3", result="same"), replace(STEP, machine="m4", inputs=""))

    assert journal.finished(Journal("cluster", NOW, steps)) == {
        ("m1", "etcd", "Files", "abc"),
        ("m3", "etcd", "Files", "abc"),
    }


def test_a_step_is_as_slow_as_its_slowest_machine() -> None:
    steps = [STEP, replace(STEP, machine="m2", seconds=3.0), replace(STEP, action="Healthy", seconds=1.0)]

    assert journal.slowest(steps, 1) == (("etcd | Files", "m2", 3.0),)
    assert journal.slowest(steps, 9) == (("etcd | Files", "m2", 3.0), ("etcd | Healthy", "m1", 1.0))
    assert journal.trips(steps) == {"m1": 4, "m2": 2}


def test_an_error_has_one_form() -> None:
    assert journal.failure(FAILED, "kybern deploy lab", Path("j.jsonl")).splitlines() == [
        "  machine  m2",
        "  role     etcd",
        "  step     Files",
        "  command  mv a b",
        "  said     no",
        "           space",
        "  next     mend what it names, and run: kybern deploy lab",
        "  journal  j.jsonl",
    ]
    assert "  said     nothing" in journal.failure(replace(FAILED, said=()), "", Path())


def test_a_command_is_one_line_that_ends() -> None:
    assert journal.shortened("set -eu\nmv a  b\n") == "set -eu mv a b"
    assert len(journal.shortened("x" * 5000)) == journal.LONGEST + 3
