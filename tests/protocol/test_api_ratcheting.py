"""Custom objects that a new schema finds wrong: what was wrong before may stay where it can be told to be the same.

The cases are those of upstream's e2e tests of CRDValidationRatcheting.
"""

import json
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab
from tests.protocol.custom_bed import ANY, Kind
from tests.protocol.requests_bed import APPLY, Api, Raw
from tests.protocol.webhook_place import until

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def api(lab: Lab, free_ports: Any) -> Api:
    return Api(lab.start(free_ports(), "--endpoint-reconciler-type=none"))


RULE = {"type": "string", "x-kubernetes-validations": [{"rule": "self == 'foo'"}]}
ENUM = {"type": "string", "enum": ["foo"]}
SENTINEL = {"type": "string", "enum": ["seen"]}


def schema(field: Raw) -> Raw:
    """Every way in which a value can be told to be the one that was there before."""
    fields = {"field": field, "other": {"type": "string"}}
    entry = {"type": "object", "properties": {**fields, "key": {"type": "string"}}, "required": ["key"]}
    return {
        "type": "object",
        "properties": {
            "sentinel": SENTINEL,
            **fields,
            "struct": {"type": "object", "properties": fields},
            "list": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["key"],
                "items": entry,
            },
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": fields}},
        },
    }


def arrays(item: Raw) -> Raw:
    """Values of lists without keys, which nobody can follow."""
    atomic: Raw = {"type": "array", "items": item, "maxItems": 9}
    return {
        "type": "object",
        "properties": {
            "sentinel": SENTINEL,
            "atomic": atomic,
            "unique": {**atomic, "x-kubernetes-list-type": "set"},
        },
    }


def everywhere(value: str, **more: str) -> Raw:
    one = {"field": value, **more}
    return {
        **one,
        "struct": one,
        "list": [{"key": "a", **one}, {"key": "b", **one}],
        "map": {"x": one, "y": one},
    }


class Place:
    """A kind without a schema, and one object of it."""

    def __init__(self, api: Api, body: Raw) -> None:
        self.api, self.kind = api, Kind(api, ANY).define()
        assert self.apply(body)[0] == 201

    def apply(self, body: Raw, name: str = "a") -> tuple[int, Any]:
        whole = {
            "apiVersion": f"{self.kind.group}/v1",
            "kind": self.kind.kind,
            "metadata": {"name": name},
            **body,
        }
        answer = self.api.send(
            "PATCH", f"{self.kind.path()}/{name}", json.dumps(whole), APPLY, fieldManager="test"
        )
        return answer.code, answer.body

    def narrow(self, to: Raw) -> None:
        """Give the kind a schema, and wait until it is in force."""
        definition = self.api.get(self.kind.definition)
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = to
        self.api.update(self.kind.definition, definition)
        until(lambda: "sentinel" in str(self.apply({"sentinel": "not seen"}, "other")[1].get("message")))


def fields_of(refused: Raw) -> set[str]:
    return {cause["field"] for cause in refused["details"]["causes"]} - {"<nil>"}


@pytest.mark.parametrize("field", [ENUM, RULE], ids=["schema", "rule"])
def test_what_was_wrong_may_stay_beside_new_values(api: Api, field: Raw) -> None:
    place = Place(api, everywhere("notfoo"))
    place.narrow(schema(field))

    code, found = place.apply(
        {**everywhere("notfoo", other="new"), "metadata": {"name": "a", "labels": {"a": "b"}}}
    )

    assert code == 200, found


PLACES = {"field", "struct.field", "list[0].field", "list[1].field"}


@pytest.mark.parametrize(
    ("field", "of_map"),
    [(ENUM, {"map.x.field", "map.y.field"}), (RULE, {"map[x].field", "map[y].field"})],
    ids=["schema", "rule"],
)
def test_what_becomes_wrong_is_refused_wherever_it_is(api: Api, field: Raw, of_map: set[str]) -> None:
    place = Place(api, everywhere("foo"))
    place.narrow(schema(field))

    code, refused = place.apply(everywhere("notfoo"))

    assert (code, refused["reason"]) == (422, "Invalid")
    assert fields_of(refused) == PLACES | of_map


@pytest.mark.parametrize(
    "item",
    [
        {"type": "string", "enum": ["new"]},
        {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self != 'old'"}]},
    ],
    ids=["schema", "rule"],
)
def test_what_was_wrong_in_a_list_without_keys_may_not_stay_when_the_list_changes(
    api: Api, item: Raw
) -> None:
    place = Place(api, {"atomic": ["old"], "unique": ["old"]})
    place.narrow(arrays(item))

    code, refused = place.apply({"atomic": ["old", "new"], "unique": ["old", "new"]})

    assert code == 422
    assert fields_of(refused) == {"atomic[0]", "unique[0]"}


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "self != oldSelf"},
        {"rule": "!oldSelf.hasValue() || self != oldSelf.value()", "optionalOldSelf": True},
    ],
    ids=["oldSelf", "optionalOldSelf"],
)
def test_a_rule_about_the_past_is_asked_of_what_has_not_changed_too(api: Api, rule: Raw) -> None:
    place = Place(api, everywhere("foo"))
    narrow = schema({"type": "string", "maxLength": 5, "x-kubernetes-validations": [rule]})
    for name, most in (("list", "maxItems"), ("map", "maxProperties")):
        narrow["properties"][name][most] = 5
    place.narrow(narrow)

    code, refused = place.apply(everywhere("foo", other="new"))

    assert code == 422
    assert fields_of(refused) == PLACES | {"map[x].field", "map[y].field"}
    assert place.apply(everywhere("new"))[0] == 200
