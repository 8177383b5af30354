"""Validators out of a schema, made once for a kind: only the places on the way to rules are kept."""

from collections.abc import Mapping
from typing import Any

from kybern.machinery.cel.binding import binder
from kybern.machinery.cel.names import escaped
from kybern.machinery.cel.schemas import Declared, declare
from kybern.machinery.structural.node import EMBEDDED, LIST_TYPE, MAP_KEYS, MAP_TYPE
from kybern.machinery.structural.rules.compiled import Compile, compiled
from kybern.machinery.structural.rules.record import RULES, anywhere
from kybern.machinery.structural.rules.validate import Validator

type Schema = Mapping[str, Any]


def build(schema: Schema, compile_: Compile) -> Validator | None:
    """The validator of the root of a kind; None when there are no rules."""
    if not anywhere(schema):
        return None
    return _build(schema, declare(schema, "selfType", root=True), compile_, root=True)


def _build(schema: Schema, declared: Declared | None, compile_: Compile, *, root: bool) -> Validator | None:
    rules = compiled(schema, declared, compile_) if declared is not None and schema.get(RULES) else ()
    properties = _properties(schema, declared, compile_)
    item = declared.item if declared is not None else None
    additional = _inner(schema.get("additionalProperties"), item, compile_)
    items = _inner(schema.get("items"), item, compile_)
    if not (rules or properties or additional or items):
        return None
    return Validator(
        schema.get("type") or "",
        rules,
        binder(schema, root=root) if rules else None,
        properties,
        additional,
        items,
        tuple(schema.get(MAP_KEYS) or ()) if schema.get(LIST_TYPE) == "map" else (),
        schema.get(MAP_TYPE) in (None, "granular", "atomic"),
    )


def _inner(schema: Any, declared: Declared | None, compile_: Compile) -> Validator | None:
    if not isinstance(schema, Mapping):
        return None
    return _build(schema, declared, compile_, root=bool(schema.get(EMBEDDED)))


def _properties(schema: Schema, declared: Declared | None, compile_: Compile) -> dict[str, Validator]:
    found: dict[str, Validator] = {}
    for name, each in (schema.get("properties") or {}).items():
        kind = _field(name, each, declared)
        validator = None if kind is None else _inner(each, kind, compile_)
        if validator is not None:
            found[name] = validator
    return found


def _field(name: str, schema: Schema, declared: Declared | None) -> Declared | None:
    """A field's type; one that expressions cannot name from outside may still have rules inside."""
    identifier = escaped(name)
    if identifier is None:
        return declare(schema, "selfType", root=bool(schema.get(EMBEDDED)))
    return None if declared is None else declared.fields.get(identifier)
