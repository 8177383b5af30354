"""What a schema says of fields: what changed, what is owned, how lists and maps are merged."""

from typing import Any

import pytest

from kybern.machinery.apply import sets
from kybern.machinery.apply.lists import Items
from kybern.machinery.apply.schema import Types
from kybern.machinery.apply.types import Fields, Type

POD = "io.k8s.api.core.v1.PodSpec"
NAMED = Items(Fields(lambda: {"name": Type("string"), "value": Type("string")}, None), ("name",))
SET = Items(Type("string"))
KEYLESS = (
    '.containers: element 0: associative list with keys has an element that omits all key fields ["name"] '
    "(and doesn't have default values for any key fields)"
)


def spec() -> Type:
    return Types.load().of(POD)


def test_new_values_are_members_with_all_on_the_way_to_their_fields() -> None:
    changed, gone = spec().diff(
        {"containers": None},
        {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "resources": {}}]},
    )

    port: sets.Set = {".": {}, "f:containerPort": {}}
    assert gone is None
    assert changed == {
        "f:containers": {
            'k:{"name":"c"}': {
                ".": {},
                "f:name": {},
                "f:ports": {".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': port},
                "f:resources": {},
            }
        }
    }


def test_owned_fields_leave_out_structs_and_lists_on_the_way() -> None:
    owned = spec().owned({"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}], "args": ["x"]}]})

    env: sets.Set = {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}
    assert owned == {"f:containers": {'k:{"name":"c"}': {".": {}, "f:args": {}, "f:env": env, "f:name": {}}}}


def test_what_is_atomic_changes_as_a_whole() -> None:
    old = {"tolerations": [{"key": "a"}], "nodeSelector": {"a": "b"}}
    new = {"tolerations": [{"key": "a"}, {"key": "b"}], "nodeSelector": {"a": "c"}}

    assert spec().diff(old, new) == ({"f:tolerations": {}, "f:nodeSelector": {}}, None)


def test_what_went_away_is_told_with_all_below() -> None:
    changed, gone = spec().diff({"hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a"]}]}, {})

    assert changed is None
    assert gone == {
        "f:hostAliases": {".": {}, 'k:{"ip":"1.1.1.1"}': {".": {}, "f:ip": {}, "f:hostnames": {}}}
    }


def test_items_that_are_there_twice_are_one_member() -> None:
    twice = [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]

    assert NAMED.owned(twice) == {'k:{"name":"a"}': {}}
    assert NAMED.diff(twice, [*twice[:1], {"name": "a", "value": "3"}]) == ({'k:{"name":"a"}': {}}, None)
    assert NAMED.diff(twice, twice[:1])[1] == {'k:{"name":"a"}': {}}


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ("ab", "bc", "abc"),
        ("abc", "ca", "bca"),
        ("abc", "xb", "axbc"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
        ("axb", "ba", "xba"),
    ],
)
def test_lists_are_woven_in_the_order_of_who_applies(old: str, new: str, merged: str) -> None:
    assert SET.merged(list(old), list(new)) == list(merged)


def test_items_of_a_keyed_list_are_merged_by_key() -> None:
    merged = NAMED.merged([{"name": "a", "value": "1"}, {"name": "b"}], [{"name": "b", "value": "2"}])

    assert merged == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]


def test_removing_takes_members_and_nulls_what_becomes_empty() -> None:
    value = {"containers": [{"name": "a", "image": "i"}, {"name": "b"}], "nodeSelector": {"x": "y"}}

    assert spec().removed(
        value, {"f:containers": {'k:{"name":"b"}': {}, 'k:{"name":"a"}': {"f:image": {}}}}
    ) == {
        "containers": [{"name": "a"}],
        "nodeSelector": {"x": "y"},
    }
    assert NAMED.removed([{"name": "a"}], {'k:{"name":"a"}': {}}) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"nodeNam": "x"}, [".nodeNam: field not declared in schema"]),
        ({"priority": "x"}, [".priority: expected numeric (int or float), got string"]),
        (
            {"containers": [{"name": "c"}, {"name": "c"}]},
            ['.containers: duplicate entries for key [name="c"]'],
        ),
        (
            {"containers": [{"image": "i"}]},
            [
                KEYLESS,
            ],
        ),
        ({"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}, []),
    ],
)
def test_what_does_not_fit_the_schema_is_told(value: Any, says: list[str]) -> None:
    assert list(spec().wrong(value, "")) == says
