"""What a schema asks of values, in upstream's words.

A walk collects everything that is wrong. ``matched`` counts what was right on the way: when none of several alternatives
fits, the one that came closest tells its complaints beside the sentence about the alternatives.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kybern.machinery import regular
from kybern.machinery.causes import (
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    wrong_type,
)
from kybern.machinery.errors import Cause
from kybern.machinery.structural.formats import NUMBERS, fits
from kybern.machinery.structural.node import INT_OR_STRING, MAP_KEYS

# Complaints about alternatives stand at no field.
NOWHERE = "<nil>"


class Walk:
    """What was found: ``causes`` that are wrong, and how much was right."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.matched = 0

    def add(self, cause: Cause) -> None:
        self.causes.append(cause)


def validate(value: Any, schema: Mapping[str, Any], path: str = "", old: Any = None) -> list[Cause]:
    """Everything that is wrong with a value. What is as it was in ``old`` is let be, right or not."""
    walk = Walk()
    _check(value, schema, path, walk, old)
    return walk.causes


def type_of(value: Any) -> str:
    """What JSON schemas call it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    if schema.get(INT_OR_STRING):
        return ("integer", "string")
    return (schema["type"],) if schema.get("type") else ()


def _check(value: Any, schema: Mapping[str, Any], path: str, walk: Walk, old: Any = None) -> None:
    before = len(walk.causes)
    if old is not None and value == old:
        return
    if value is None and schema.get("nullable"):
        walk.matched += 1
        return
    _type(value, schema, path, walk)
    if value is not None:
        _alternatives(value, schema, path, walk)
        _kind(value, schema, path, walk, old)
    _enum(value, schema, path, walk)
    if isinstance(value, dict):
        _object(value, schema, path, walk, old)
    if len(walk.causes) == before:
        walk.matched += 1


def _kind(value: Any, schema: Mapping[str, Any], path: str, walk: Walk, old: Any) -> None:
    if isinstance(value, str):
        _string(value, schema, path, walk)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _number(value, schema, path, walk)
    elif isinstance(value, list):
        _list(value, schema, path, walk, old)


def _said(path: str, text: str) -> str:
    return f"{path} in body {text}"


def _wrong(value: Any, kind: str, path: str) -> Cause:
    text = f"must be of type {kind}: {json.dumps(value, ensure_ascii=False)}"
    return wrong_type(path, value, _said(path, text))


def _type(value: Any, schema: Mapping[str, Any], path: str, walk: Walk) -> None:
    kinds = _types(schema)
    if not kinds:
        return
    is_ = type_of(value)
    whole = isinstance(value, float) and value.is_integer() and "integer" in kinds
    if is_ in kinds or whole or (is_ == "integer" and "number" in kinds):
        return
    walk.add(_wrong(is_, ",".join(kinds), path))


def _enum(value: Any, schema: Mapping[str, Any], path: str, walk: Walk) -> None:
    choices = schema.get("enum")
    if choices and not any(_equal(value, choice) for choice in choices):
        shown = (choice if isinstance(choice, str) else json.dumps(choice) for choice in choices)
        walk.add(not_supported(path, value, shown))


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def pattern(text: str) -> regular.Pattern | None:
    """A pattern of the schema; None for one that is none."""
    try:
        return regular.compiled(text)
    except regular.PatternError:
        return None


def _string(value: str, schema: Mapping[str, Any], path: str, walk: Walk) -> None:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        walk.add(too_long(path, longest))
    if shortest is not None and len(value) < shortest:
        walk.add(invalid(path, value, _said(path, f"should be at least {shortest} chars long")))
    wanted = schema.get("pattern")
    compiled = pattern(wanted) if wanted else None
    if compiled is not None and not compiled.within(value):
        walk.add(invalid(path, value, _said(path, f"should match '{wanted}'")))
    if schema.get("format") and not fits(schema["format"], value):
        walk.add(_wrong(value, schema["format"], path))


def _shown(number: float) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else repr(number)


def _number(value: float, schema: Mapping[str, Any], path: str, walk: Walk) -> None:
    kind = schema.get("format") or ""
    low, high = NUMBERS.get(kind, (float("-inf"), float("inf")))
    if not low <= value <= high:
        text = f"Checked value must be of type {schema.get('type')} with format {kind} in {path}"
        walk.add(invalid(NOWHERE, "", text))
    step = schema.get("multipleOf")
    if step and not _multiple(value, step):
        walk.add(invalid(path, value, _said(path, f"should be a multiple of {_shown(step)}")))
    most, least = schema.get("maximum"), schema.get("minimum")
    if most is not None:
        exclusive = bool(schema.get("exclusiveMaximum"))
        if value > most or (exclusive and value == most):
            text = f"should be less than {'' if exclusive else 'or equal to '}{_shown(most)}"
            walk.add(invalid(path, value, _said(path, text)))
    if least is not None:
        exclusive = bool(schema.get("exclusiveMinimum"))
        if value < least or (exclusive and value == least):
            text = f"should be greater than {'' if exclusive else 'or equal to '}{_shown(least)}"
            walk.add(invalid(path, value, _said(path, text)))


def _multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    parts = value / step
    return abs(parts - round(parts)) < 1e-9


def _list(value: list[Any], schema: Mapping[str, Any], path: str, walk: Walk, old: Any) -> None:
    items = schema.get("items")
    if isinstance(items, Mapping):
        known = _by_key(old, schema)
        for i, each in enumerate(value):
            _check(each, items, f"{path}[{i}]", walk, known.get(_key(each, schema)))
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        walk.add(invalid(path, len(value), _said(path, f"should have at least {least} items")))
    if most is not None and len(value) > most:
        walk.add(too_many(path, len(value), most))


def _key(item: Any, schema: Mapping[str, Any]) -> str:
    return json.dumps([item.get(key) for key in schema.get(MAP_KEYS) or ()]) if isinstance(item, dict) else ""


def _by_key(old: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The old items of a list that is a map; items of other lists cannot be told apart."""
    if not schema.get(MAP_KEYS) or not isinstance(old, list):
        return {}
    return {_key(each, schema): each for each in old}


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str, walk: Walk, old: Any) -> None:
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        walk.add(invalid(path, len(value), _said(path, f"should have at least {least} properties")))
        return
    if most is not None and len(value) > most:
        walk.add(too_many(path, len(value), most))
        return
    properties, further = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, each in value.items():
        below = properties.get(key, further)
        if isinstance(below, Mapping):
            was = old.get(key) if isinstance(old, dict) else None
            _check(each, below, f"{path}.{key}" if path else key, walk, was)
    for key in schema.get("required") or ():
        if key not in value:
            walk.add(required(f"{path}.{key}" if path else key))
        else:
            walk.matched += 1


def _alternatives(value: Any, schema: Mapping[str, Any], path: str, walk: Walk) -> None:
    if schema.get("anyOf"):
        _any(value, schema["anyOf"], path, walk)
    if schema.get("oneOf"):
        _one(value, schema["oneOf"], path, walk)
    if schema.get("allOf"):
        _all(value, schema["allOf"], path, walk)
    if schema.get("not") is not None:
        found = Walk()
        _check(value, schema["not"], path, found)
        if not found.causes:
            walk.add(invalid(NOWHERE, "", f'"{path}" must not validate the schema (not)'))


def _tried(value: Any, schemas: Iterable[Mapping[str, Any]], path: str) -> list[Walk]:
    found = []
    for schema in schemas:
        walk = Walk()
        _check(value, schema, path, walk)
        found.append(walk)
    return found


def _closest(tried: list[Walk]) -> list[Cause]:
    return max(tried, key=lambda walk: walk.matched).causes


def _any(value: Any, schemas: list[Any], path: str, walk: Walk) -> None:
    tried = _tried(value, schemas, path)
    if all(found.causes for found in tried):
        walk.add(invalid(NOWHERE, "", f'"{path}" must validate at least one schema (anyOf)'))
        walk.causes += _closest(tried)


def _one(value: Any, schemas: list[Any], path: str, walk: Walk) -> None:
    tried = _tried(value, schemas, path)
    fitting = sum(not found.causes for found in tried)
    if fitting == 1:
        return
    found = f"Found {fitting} valid alternatives" if fitting else "Found none valid"
    text = f'"{path}" must validate one and only one schema (oneOf). {found}'
    walk.add(invalid(NOWHERE, "", text))
    if not fitting:
        walk.causes += _closest(tried)


def _all(value: Any, schemas: list[Any], path: str, walk: Walk) -> None:
    tried = _tried(value, schemas, path)
    fitting = sum(not found.causes for found in tried)
    for found in tried:
        walk.causes += found.causes
    if fitting < len(tried):
        none = "" if fitting else ". None validated"
        walk.add(invalid(NOWHERE, "", f'"{path}" must validate all the schemas (allOf){none}'))
