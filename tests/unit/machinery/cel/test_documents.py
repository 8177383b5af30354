"""Schemas out of OpenAPI documents."""

from typing import Any

from kybern.machinery.cel.documents import schema_of

REF = "#/components/schemas/"


def document(**schemas: Any) -> dict[str, Any]:
    kinds = [{"group": "", "version": "v1", "kind": "Pod"}]
    schemas["Pod"] = {"x-kubernetes-group-version-kind": kinds, "type": "object", **schemas["Pod"]}
    return {"components": {"schemas": schemas}}


def properties(found: Any) -> Any:
    assert found is not None
    return found["properties"]


def test_references_are_replaced_wherever_they_stand() -> None:
    text = {"type": "string"}
    fields = {
        "plain": {"$ref": REF + "Text"},
        "described": {"allOf": [{"$ref": REF + "Text"}], "description": "about it"},
        "list": {"type": "array", "items": {"$ref": REF + "Text"}},
        "map": {"type": "object", "additionalProperties": {"$ref": REF + "Text"}},
    }

    found = properties(schema_of(document(Pod={"properties": fields}, Text=text), "", "v1", "Pod"))

    assert found == {
        "plain": text,
        "described": text,
        "list": {"type": "array", "items": text},
        "map": {"type": "object", "additionalProperties": text},
    }


def test_what_refers_to_itself_ends_as_an_object() -> None:
    below = {"type": "object", "properties": {"inner": {"$ref": REF + "Below"}}}
    found = properties(
        schema_of(document(Pod={"properties": {"a": {"$ref": REF + "Below"}}}, Below=below), "", "v1", "Pod")
    )

    assert found["a"]["properties"]["inner"] == {"type": "object"}


def test_the_same_definition_may_stand_twice_beside_itself() -> None:
    fields = {"a": {"$ref": REF + "Text"}, "b": {"$ref": REF + "Text"}}
    found = properties(
        schema_of(document(Pod={"properties": fields}, Text={"type": "string"}), "", "v1", "Pod")
    )

    assert found["a"] == found["b"] == {"type": "string"}


def test_there_is_no_schema_of_what_is_not_described() -> None:
    assert schema_of(document(Pod={}), "", "v1", "Node") is None
    assert schema_of(document(Pod={"properties": {"a": {"$ref": REF + "Gone"}}}), "", "v1", "Pod") is None
    assert schema_of({}, "", "v1", "Pod") is None
