"""Schemas of built-in kinds, whole."""

from typing import Any

from kybern.machinery.cel import types
from kybern.machinery.cel.references import whole
from kybern.machinery.cel.schemas import declare
from kybern.machinery.schema import Schema
from kybern.machinery.walkers import REF


def test_references_are_replaced() -> None:
    known: dict[str, Any] = {
        "K": {
            "type": "object",
            "properties": {
                "a": {"$ref": f"{REF}A"},
                "b": {"description": "b", "allOf": [{"$ref": f"{REF}A"}], "default": {}},
                "l": {"type": "array", "items": {"$ref": f"{REF}A"}},
                "m": {"type": "object", "additionalProperties": {"$ref": f"{REF}A"}},
                "gone": {"$ref": f"{REF}Gone"},
            },
        },
        "A": {"type": "string"},
    }
    text = {"type": "string"}
    assert whole(known, "K") == {
        "type": "object",
        "properties": {
            "a": text, "b": text, "l": {"type": "array", "items": text},
            "m": {"type": "object", "additionalProperties": text}, "gone": {"type": "object"},
        },
    }  # fmt: skip
    assert whole(known, "Nothing") is None


def test_what_is_meant_within_itself_is_unknown_there() -> None:
    known = {"K": {"type": "object", "properties": {"not": {"$ref": f"{REF}K"}}}}
    assert whole(known, "K") == {"type": "object", "properties": {"not": {"type": "object"}}}


def test_built_in_kinds_are_types() -> None:
    definitions = Schema.load().definitions
    schema = whole(definitions, "io.k8s.api.core.v1.Pod")
    assert schema is not None
    pod = declare(schema, "Pod")
    assert pod is not None
    container = pod.at(("spec", "containers", "@items"))
    assert container is not None
    assert container.fields["image"].type == types.STRING
    assert str(container.fields["ports"].type) == "list(Pod.spec.containers.@idx.ports.@idx)"
    limits = container.at(("resources", "limits"))
    assert limits is not None
    assert limits.type == types.map_of(types.STRING, types.STRING)
    probe = container.at(("livenessProbe", "httpGet", "port"))
    assert probe is not None
    assert probe.type == types.DYN
    labels = pod.at(("metadata", "labels"))
    assert labels is not None
    assert labels.type == types.map_of(types.STRING, types.STRING)
