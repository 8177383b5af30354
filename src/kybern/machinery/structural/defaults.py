"""Whether a schema's defaults are values that fit it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kybern.machinery.causes import invalid
from kybern.machinery.errors import Cause
from kybern.machinery.structural import shape, unique, values
from kybern.machinery.structural.node import build
from kybern.machinery.structural.parts import parts
from kybern.machinery.structural.rules.build import build as build_rules
from kybern.machinery.structural.rules.compiled import Compile
from kybern.machinery.structural.rules.validate import validate as validate_rules


def check(
    schema: Mapping[str, Any], path: str, compile_: Compile | None, *, root: bool = False
) -> Iterator[Cause]:
    """Defaults are whole values: nothing unknown in them, nothing wrong with them, by rules either."""
    default = schema.get("default")
    if default is not None:
        at = f"{path}.default"
        structural = replace(build(schema), has_default=False)
        copied = {"value": _copy(default)}
        shape.prune(copied["value"], structural, root=structural.embedded)
        if copied["value"] != default:
            yield invalid(at, default, "must not have unknown fields")
        else:
            yield from _placed(at, values.validate(_filled(default, schema), schema))
            yield from _placed(at, unique.lists(default, structural))
            yield from _placed(at, _ruled(default, schema, compile_))
    for name, inner in parts(schema, path):
        if not (root and name == f"{path}.properties[metadata]"):
            yield from check(inner, name, compile_)


def _ruled(default: Any, schema: Mapping[str, Any], compile_: Compile | None) -> list[Cause]:
    validator = None if compile_ is None else build_rules(schema, compile_)
    return [] if validator is None else validate_rules(validator, default, default, keep=False).causes


def _filled(default: Any, schema: Mapping[str, Any]) -> Any:
    found = _copy(default)
    shape.fill(found, replace(build(schema), has_default=False))
    return found


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value


def _placed(at: str, causes: list[Cause]) -> Iterator[Cause]:
    for cause in causes:
        inner = "" if cause.field in ("", values.NOWHERE) else cause.field
        between = "" if not inner or inner.startswith("[") else "."
        yield replace(cause, field=f"{at}{between}{inner}")
