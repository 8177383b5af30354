"""Validators out of a schema, made once for a kind: only the places on the way to rules are kept."""

from collections.abc import Mapping
from typing import Any

from kybern.machinery.cel.binding import binder
from kybern.machinery.cel.names import escaped
from kybern.machinery.cel.schemas import Declared, declare
from kybern.machinery.structural.node import EMBEDDED, LIST_TYPE, MAP_KEYS, MAP_TYPE
from kybern.machinery.structural.rules.compiled import Compile, Compiled, compiled
from kybern.machinery.structural.rules.record import RULES, anywhere
from kybern.machinery.structural.rules.validate import Validator

type Schema = Mapping[str, Any]


def build(schema: Schema, compile_: Compile) -> Validator | None:
    """The validator of the root of a kind; None when there are no rules."""
    if not anywhere(schema):
        return None
    return _build(schema, schema, declare(schema, "selfType", root=True), compile_, root=True)


def _build(
    said: Schema, schema: Schema, declared: Declared | None, compile_: Compile, *, root: bool
) -> Validator | None:
    """``said`` is where the rules are: the schema itself, or an allOf about it."""
    rules: tuple[Compiled, ...] = ()
    if said.get(RULES) and declared is not None:
        rules = compiled({**schema, RULES: said[RULES]}, declared, compile_)
    properties = _properties(said, schema, declared, compile_)
    additional = _inner(said, schema, "additionalProperties", declared, compile_)
    items = _inner(said, schema, "items", declared, compile_)
    found = (_build(each, schema, declared, compile_, root=root) for each in said.get("allOf") or ())
    alternatives = tuple(each for each in found if each is not None)
    if not (rules or properties or additional or items or alternatives):
        return None
    return Validator(
        schema.get("type") or "",
        rules,
        binder(schema, root=root) if rules else None,
        properties,
        additional,
        items,
        alternatives,
        tuple(schema.get(MAP_KEYS) or ()) if schema.get(LIST_TYPE) == "map" else (),
        schema.get(MAP_TYPE) in (None, "granular", "atomic"),
    )


def _inner(
    said: Schema, schema: Schema, key: str, declared: Declared | None, compile_: Compile
) -> Validator | None:
    below, inner = said.get(key), schema.get(key)
    if not isinstance(below, Mapping) or not isinstance(inner, Mapping):
        return None
    item = declared.item if declared is not None else None
    return _build(below, inner, item, compile_, root=bool(inner.get(EMBEDDED)))


def _properties(
    said: Schema, schema: Schema, declared: Declared | None, compile_: Compile
) -> dict[str, Validator]:
    found: dict[str, Validator] = {}
    known = schema.get("properties") or {}
    for name, below in (said.get("properties") or {}).items():
        if name not in known:
            continue
        inner = known[name]
        kind = _field(name, inner, declared)
        if kind is None:
            continue
        validator = _build(below, inner, kind, compile_, root=bool(inner.get(EMBEDDED)))
        if validator is not None:
            found[name] = validator
    return found


def _field(name: str, schema: Schema, declared: Declared | None) -> Declared | None:
    """A field's type; one that expressions cannot name from outside may still have rules inside."""
    identifier = escaped(name)
    if identifier is None:
        return declare(schema, "selfType", root=bool(schema.get(EMBEDDED)))
    return None if declared is None else declared.fields.get(identifier)
