"""The entries of managedFields: reading, writing, order, names and their number."""

from typing import Any

import pytest

from kybern.machinery.apply import managers
from kybern.machinery.apply.managers import APPLY, UPDATE, Entry, Managed, Who

TIME = "2026-01-01T00:00:00Z"


def entry(**more: Any) -> dict[str, Any]:
    found = {
        "manager": "m", "operation": "Update", "apiVersion": "v1", "time": TIME, "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {}}, **more,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def test_entries_are_written_as_they_were_read() -> None:
    entries = [entry(operation="Apply"), entry(manager="n", subresource="status")]

    assert managers.listed(managers.of(entries) or {}) == entries


def test_who_applies_has_one_entry_whatever_the_version() -> None:
    found = managers.of([entry(operation="Apply", apiVersion="v1"), entry(apiVersion="v2")])

    assert found is not None
    assert set(found) == {Who("m", APPLY), Who("m", UPDATE, "v2")}


@pytest.mark.parametrize(
    "broken",
    [
        entry(operation="Steal"),
        entry(apiVersion=""),
        entry(fieldsType=None),
        entry(fieldsType="FieldsV2"),
        entry(fieldsV1={"data": {}}),
    ],
)
def test_what_a_client_sends_is_taken_whole_or_not_at_all(broken: dict[str, Any]) -> None:
    assert managers.of([entry(), broken], sent=True) is None


def test_appliers_stand_first_and_then_the_older_ones() -> None:
    later = "2026-01-02T00:00:00Z"
    managed: Managed = {
        Who("b", UPDATE, "v1"): Entry({"f:a": {}}, "v1", later),
        Who("c", UPDATE, "v1"): Entry({"f:a": {}}, "v1", TIME),
        Who("a", UPDATE, "v1"): Entry({"f:a": {}}, "v1", later),
        Who("z", APPLY): Entry({"f:a": {}}, "v1", later),
    }

    assert [each["manager"] for each in managers.listed(managed)] == ["z", "c", "a", "b"]


def test_the_oldest_of_too_many_updates_become_one() -> None:
    managed: Managed = {
        Who(f"m{at:02}", UPDATE, "v1"): Entry({f"f:{at}": {}}, "v1", f"2026-01-{at + 1:02}T00:00:00Z")
        for at in range(12)
    }

    found = managers.capped(managed)

    ancient = found[Who("ancient-changes", UPDATE, "v1")]
    assert len(found) == 10
    assert ancient == Entry({"f:0": {}, "f:1": {}, "f:2": {}}, "v1", "2026-01-03T00:00:00Z")


def test_who_applies_is_never_put_together_with_others() -> None:
    managed: Managed = {Who(f"m{at}", APPLY): Entry({"f:a": {}}, "v1") for at in range(12)}

    assert len(managers.capped(managed)) == 12


@pytest.mark.parametrize(
    ("manager", "agent", "name"),
    [
        ("asked", "kubectl/v1.36", "asked"),
        ("", "kubectl/v1.36 (linux/amd64)", "kubectl"),
        ("", "a\x00b/1", "ab"),
        ("", "", "unknown"),
        ("", "x" * 200, "x" * 128),
        ("", "é" * 100, "é" * 64),
    ],
)
def test_who_writes_is_named_by_request_or_by_its_agent(manager: str, agent: str, name: str) -> None:
    assert managers.named(manager, agent) == name


def test_times_do_not_make_entries_differ() -> None:
    assert managers.same_but_times([entry()], [entry(time="2027-01-01T00:00:00Z")])
    assert not managers.same_but_times([entry()], [entry(manager="n")])


def test_a_reset_is_an_empty_list_or_an_empty_entry() -> None:
    asking: list[Any] = [[], [{}]]
    others: list[Any] = [None, [entry()], [{}, {}]]

    assert all(managers.reset(sent) for sent in asking)
    assert not any(managers.reset(sent) for sent in others)


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        (Who("a", APPLY), '"a"'),
        (Who("a", APPLY, subresource="status"), '"a" with subresource "status"'),
        (Who("a", UPDATE, "v1"), '"a" using v1'),
        (Who("a", UPDATE, "v1", "scale"), '"a" with subresource "scale" using v1'),
    ],
)
def test_conflicts_say_how_somebody_writes(who: Who, shown: str) -> None:
    assert who.shown() == shown
