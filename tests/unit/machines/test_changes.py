"""Plans: written and read, held against the machines again, and what executing one may do."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machines import changes
from kybern.machines.changes import Change, Plan, Unreadable

FILE = Change("m1", "etcd", "Files", "file", "/etc/x", "replace", "old", "new", ("--- /etc/x", "-a", "+b"))
UNIT = Change("m1", "etcd", "Started", "unit", "etcd.service", "start", "inactive", "d1")
WAIT = Change("m1", "etcd", "Healthy", "wait", "etcd.service", "wait")
PLAN = Plan("lab", "lab", "2026-11-27T06:00:00Z", ("m1", "m2"), changes=(FILE, UNIT))

text = st.text(max_size=8)
change = st.builds(Change, text, text, text, text, text, text, text, text, st.tuples(text, text))


@given(st.lists(change, max_size=5, unique_by=lambda one: one.key), st.lists(text, max_size=3))
def test_a_plan_is_read_as_it_was_written(found: list[Change], names: list[str]) -> None:
    plan = replace(PLAN, changes=tuple(found), silent=tuple(names), strangers=tuple(names))

    assert changes.read(changes.written(plan)) == plan


@pytest.mark.parametrize(
    ("given_text", "says"),
    [
        ("", "it is no plan"),
        ("[]", "it is no plan"),
        ("{}", "it is no plan: 'version'"),
        ('{"version": 7}', "of version 7, and this kybern reads version 1"),
        ('{"version": 1, "changes": [{"machine": "m1"}]}', "it is no plan"),
    ],
)
def test_what_is_no_plan_is_told(given_text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        changes.read(given_text)


def test_what_each_master_would_do_for_all_is_there_once() -> None:
    assert list(changes.changes([asdict(FILE), asdict(FILE), asdict(UNIT)])) == [FILE, UNIT]


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({}, ()),
        ({"changes": (FILE, UNIT, WAIT)}, ()),
        ({"made": "later", "strangers": ("x",), "silent": ("m9",)}, ()),
        ({"machines": ("m1",)}, ("m2: does not answer any more",)),
        ({"changes": (FILE,)}, ("m1: etcd: etcd.service: is as wanted now",)),
        (
            {"changes": (FILE, UNIT, replace(FILE, machine="m2"))},
            ("m2: etcd: /etc/x: replace is to be done now, too",),
        ),
        (
            {"changes": (replace(FILE, after="newer"), UNIT)},
            ("m1: etcd: /etc/x: something else is wanted now",),
        ),
        (
            {"changes": (replace(FILE, before="odd"), UNIT)},
            ("m1: etcd: /etc/x: something else is there now",),
        ),
    ],
)
def test_a_stale_plan_is_told_by_what_has_changed(now: dict[str, Any], says: tuple[str, ...]) -> None:
    assert changes.stale(PLAN, replace(PLAN, **now)) == says


def test_a_plan_of_which_a_part_is_done_goes_on_but_not_with_something_else() -> None:
    assert changes.stale(PLAN, replace(PLAN, changes=(UNIT,)), begun=True) == ()
    assert changes.stale(PLAN, replace(PLAN, changes=(WAIT, replace(UNIT, after="d2"))), begun=True) != ()


@pytest.mark.parametrize(
    ("wanted", "may"),
    [
        (FILE, True),
        (replace(FILE, before="anything"), True),
        (replace(FILE, after="other"), False),
        (replace(FILE, machine="m2"), False),
        (replace(FILE, action="Other"), False),
        (WAIT, True),
        (replace(UNIT, subject="kubelet.service"), True),
        (replace(UNIT, machine="m2"), False),
        (Change("m1", "system", "Packages", "package", "runc", "install"), False),
    ],
)
def test_an_execution_does_what_is_planned_and_what_follows(wanted: Change, may: bool) -> None:
    """One unit takes others with it, so that a start on a machine where units start is none of somebody else's."""
    assert changes.permitted(PLAN.changes, wanted) is may


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", ()),
        ('{"members": [{"name": "m1"}]}', ()),
        ('{"members": [{"name": "m1"}, {"name": "gone"}]}', ("gone",)),
        ('{"members": [{"peerURLs": ["https://10.0.0.9:2380"]}]}', ("https://10.0.0.9:2380",)),
    ],
)
def test_members_that_nobody_wants_are_named(answer: str, found: tuple[str, ...]) -> None:
    assert changes.strangers(answer, ["m1", "m2"]) == found


def test_a_machine_differs_when_more_than_waiting_is_to_be_done() -> None:
    assert changes.differing((FILE, UNIT, replace(WAIT, machine="m2"))) == {"m1"}


def test_a_plan_reads_machine_by_machine_and_kind_by_kind() -> None:
    plan = replace(
        PLAN, changes=(UNIT, FILE, replace(UNIT, machine="m2")), silent=("m3",), strangers=("old",)
    )

    assert list(changes.told(plan)) == [
        "m1:",
        "  files:",
        "    replace  /etc/x  (etcd)",
        "      --- /etc/x",
        "      -a",
        "      +b",
        "  units:",
        "    start    etcd.service  (etcd)",
        "",
        "m2:",
        "  units:",
        "    start    etcd.service  (etcd)",
        "",
        "etcd has a member that is not in the topology: old; kybern remove lab old",
        "m3 does not answer: it is not in this plan",
        "To do on 2 machines of lab: files: 1, units: 2.",
    ]
    assert "      -a" not in changes.told(plan, diffs=False)


def test_an_empty_plan_says_so() -> None:
    plan = replace(PLAN, changes=())

    assert plan.is_empty
    assert list(changes.told(plan)) == ["Nothing to do: 2 machines of lab are as they should be."]
    assert not replace(plan, strangers=("old",)).is_empty
