"""Plain writes and applies: what becomes of the object, and of who manages its fields."""

import copy
import json
from typing import Any

import pytest

from kybern.machinery.apply import merge
from kybern.machinery.apply.managers import APPLY, UPDATE, Entry, Managed, Who
from kybern.machinery.apply.merge import Applied, ApplyConflict
from kybern.machinery.apply.schema import Types
from kybern.machinery.apply.shape import Other, Reset, Shape
from kybern.machinery.apply.types import Fields
from kybern.machinery.apply.update import updated

NOW = "2026-01-01T00:00:00Z"
ONE, TWO = Who("one", APPLY), Who("two", APPLY)
WRITER = Who("writer", UPDATE, "v1")
ALL = Reset()


def shape(version: str = "v1", reset: Reset = ALL) -> Shape:
    root = Types.load().of("io.k8s.api.core.v1.ConfigMap")
    assert isinstance(root, Fields)

    def other(wanted: str) -> Other | None:
        # Between these two nothing differs but the name.
        return (shape(wanted), copy.deepcopy) if wanted in ("v1", "v2") else None

    return Shape(version, root, reset, other)


def config(data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}}
    return found if data is None else {**found, "data": data}


def apply(
    live: dict[str, Any], sent: dict[str, Any], managed: Managed, who: Who = ONE, *, force: bool = False
) -> Applied:
    return merge.carried(live, sent, managed, shape(), who, force=force)


def fields(managed: Managed) -> dict[str, Any]:
    return {who.manager: entry.fields for who, entry in managed.items()}


def test_a_write_owns_what_it_adds_and_takes_what_it_changes() -> None:
    managed: Managed = {WRITER: Entry({"f:data": {".": {}, "f:a": {}, "f:b": {}, "f:c": {}}}, "v1", NOW)}
    live = config({"a": "1", "b": "1", "c": "1"}, uid="u")
    other = Who("other", UPDATE, "v1")

    found = updated(live, config({"a": "2", "b": "1", "d": "1"}, uid="u"), managed, shape(), other, NOW)

    assert fields(found) == {
        "writer": {"f:data": {".": {}, "f:b": {}}},
        "other": {"f:data": {"f:a": {}, "f:d": {}}},
    }


def test_a_write_that_changes_nothing_leaves_the_entries() -> None:
    managed: Managed = {WRITER: Entry({"f:data": {"f:a": {}}}, "v1", NOW)}
    live = config({"a": "1"}, uid="u", resourceVersion="1")

    assert updated(live, config({"a": "1"}, uid="u"), managed, shape(), WRITER, "later") is managed


def test_an_object_that_nobody_manages_stays_so() -> None:
    assert updated(config(uid="u"), config({"a": "1"}, uid="u"), {}, shape(), WRITER, NOW) == {}


def test_fields_that_a_path_does_not_write_are_not_counted() -> None:
    seen = shape(reset=Reset(top=frozenset({"data"}), metadata=frozenset({"labels"})))
    new = config({"a": "1"}, labels={"l": "1"}, annotations={"x": "y"})

    found = updated({"metadata": {}}, new, {}, seen, WRITER, NOW)

    assert fields(found) == {"writer": {"f:metadata": {"f:annotations": {".": {}, "f:x": {}}}}}


def test_entries_of_versions_that_are_no_more_go() -> None:
    managed: Managed = {Who("old", UPDATE, "v0"): Entry({"f:data": {}}, "v0", NOW)}

    assert updated(config(uid="u"), config(uid="u"), managed, shape(), WRITER, NOW) == {}


def test_entries_of_other_versions_lose_what_changes() -> None:
    old = Who("old", UPDATE, "v2")
    managed: Managed = {old: Entry({"f:data": {"f:a": {}, "f:b": {}}}, "v2", NOW)}

    found = updated(config({"a": "1"}, uid="u"), config({"a": "2"}, uid="u"), managed, shape(), WRITER, NOW)

    assert fields(found) == {"old": {"f:data": {"f:b": {}}}, "writer": {"f:data": {"f:a": {}}}}


def test_who_applies_owns_what_it_applies() -> None:
    found = apply({"metadata": {}}, config({"a": "1"}), {})

    assert found.new == config({"a": "1"})
    assert fields(found.managed) == {"one": {"f:data": {"f:a": {}}}}


def test_applying_the_same_value_shares_the_field() -> None:
    first = apply({"metadata": {}}, config({"a": "1", "b": "1"}), {})
    assert first.new is not None

    second = apply(first.new, config({"a": "1"}), first.managed, TWO)

    assert second.new is None
    assert fields(second.managed)["two"] == {"f:data": {"f:a": {}}}


def test_what_is_not_applied_any_more_goes_unless_others_manage_it() -> None:
    first = apply({"metadata": {}}, config({"a": "1", "b": "1", "c": "1"}), {})
    assert first.new is not None
    second = apply(first.new, config({"b": "1"}), first.managed, TWO)

    third = apply(first.new, config({"c": "1"}), second.managed)

    assert third.new == config({"b": "1", "c": "1"})
    assert fields(third.managed) == {"one": {"f:data": {"f:c": {}}}, "two": {"f:data": {"f:b": {}}}}


def test_what_a_plain_writer_manages_stays_when_an_applier_leaves() -> None:
    managed: Managed = {WRITER: Entry({"f:data": {".": {}, "f:x": {}}}, "v1", NOW)}
    first = apply(config({"x": "1"}, uid="u"), config({"a": "1"}), managed)
    assert first.new is not None

    second = apply(first.new, config(), first.managed)

    assert second.new == config({"x": "1"}, uid="u")
    assert second.managed == managed


def test_members_of_sets_are_managed_one_by_one() -> None:
    first = apply({"metadata": {}}, config(finalizers=["x/a"]), {})
    assert first.new is not None
    second = apply(first.new, config(finalizers=["x/b"]), first.managed, TWO)
    assert second.new is not None

    third = apply(second.new, config(finalizers=[]), second.managed)

    assert second.new["metadata"]["finalizers"] == ["x/a", "x/b"]
    assert third.new is not None
    assert third.new["metadata"]["finalizers"] == ["x/b"]


def test_changing_what_others_manage_is_a_conflict() -> None:
    managed: Managed = {
        TWO: Entry({"f:data": {"f:a": {}}}, "v1"),
        WRITER: Entry({"f:data": {"f:b": {}}}, "v1"),
    }
    live = config({"a": "1", "b": "1"}, uid="u")

    with pytest.raises(ApplyConflict) as caught:
        apply(live, config({"a": "2", "b": "2"}), managed)

    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "two":\n- .data.a\nconflicts with "writer" using v1:\n- .data.b'
    )
    assert caught.value.details is not None
    assert [cause.as_dict() for cause in caught.value.details.causes] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "two"', "field": ".data.a"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "writer" using v1', "field": ".data.b"},
    ]


def test_force_takes_fields_from_others() -> None:
    managed: Managed = {TWO: Entry({"f:data": {"f:a": {}}}, "v1")}

    found = apply(config({"a": "1"}, uid="u"), config({"a": "2"}), managed, force=True)

    assert found.new == config({"a": "2"}, uid="u")
    assert fields(found.managed) == {"one": {"f:data": {"f:a": {}}}}


def test_applies_of_another_version_are_undone_in_that_version() -> None:
    managed: Managed = {ONE: Entry({"f:data": {"f:a": {}, "f:b": {}}}, "v2")}

    found = apply(config({"a": "1", "b": "1"}, uid="u"), config({"b": "1"}), managed)

    assert found.new == config({"b": "1"}, uid="u")
    assert found.managed[ONE].version == "v1"


def applied_before(**data: str) -> dict[str, str]:
    return {merge.LAST_APPLIED: json.dumps(config(data))}


def test_what_kubectl_applied_on_its_side_is_no_conflict_for_kubectl() -> None:
    live = config({"a": "1", "b": "1"}, uid="u", annotations=applied_before(a="1"))
    managed: Managed = {WRITER: Entry({"f:data": {"f:a": {}, "f:b": {}}}, "v1")}

    found = apply(live, config({"a": "2"}), managed, Who("kubectl", APPLY))
    with pytest.raises(ApplyConflict, match=r"1 conflict: .*[.]data[.]b"):
        apply(live, config({"a": "2", "b": "2"}), managed, Who("kubectl", APPLY))
    with pytest.raises(ApplyConflict):
        apply(live, config({"a": "2"}), managed)

    assert fields(found.managed) == {"writer": {"f:data": {"f:b": {}}}, "kubectl": {"f:data": {"f:a": {}}}}


def test_the_annotation_of_kubectl_follows_its_applies() -> None:
    live = config({"a": "1"}, annotations=applied_before(a="1"))

    found = merge.with_last_applied(live, config({"a": "2"}))

    told = found["metadata"]["annotations"][merge.LAST_APPLIED]
    assert told.endswith("\n")
    assert json.loads(told) == config({"a": "2"})
    assert merge.with_last_applied(config(), config({"a": "2"})) == config()
