"""Brings a value into the shape of its schema: unknown fields go, nulls that mean nothing go, defaults come."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from kybern.machinery.structural.node import Structural

# What every object may have beside what its schema tells.
_TYPED = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Structural, *, root: bool = False) -> list[str]:
    """Remove what the schema does not know, in place; gives the paths of what went, sorted."""
    gone: list[str] = []
    _prune(value, schema, "", gone, root=root)
    return sorted(gone)


def _prune(value: Any, schema: Structural, path: str, gone: list[str], *, root: bool = False) -> None:
    if isinstance(value, dict):
        _prune_object(value, schema, path, gone, _TYPED if root or schema.embedded else ())
    elif isinstance(value, list) and schema.items is not None:
        for i, each in enumerate(value):
            _prune(each, schema.items, f"{path}[{i}]", gone)


def _prune_object(
    value: dict[str, Any], schema: Structural, path: str, gone: list[str], typed: tuple[str, ...]
) -> None:
    keep = schema.preserve or schema.open
    for key in list(value):
        if key in typed:
            continue
        place = f"{path}.{key}" if path else key
        below = schema.child(key)
        if below is not None:
            _prune(value[key], below, place, gone)
        elif not keep:
            del value[key]
            gone.append(place)


def drop_nulls(value: Any, schema: Structural) -> None:
    """Remove nulls where null is no value and there is no default to take its place."""
    if isinstance(value, dict):
        _drop_nulls(value, schema)
    elif isinstance(value, list) and schema.items is not None:
        for each in value:
            drop_nulls(each, schema.items)


def _drop_nulls(value: dict[str, Any], schema: Structural) -> None:
    for key in list(value):
        below = schema.child(key)
        if below is None:
            continue
        if value[key] is not None:
            drop_nulls(value[key], below)
        elif not (below.nullable or below.has_default or below.preserve):
            del value[key]


def fill(value: Any, schema: Structural) -> None:
    """Fill in defaults, in place."""
    if isinstance(value, list):
        _fill_items(value, schema)
        return
    if not isinstance(value, dict):
        return
    for key, below in schema.properties.items():
        if below.has_default and (key not in value or _absent(value[key], below)):
            value[key] = deepcopy(below.default)
    for key, each in value.items():
        child = schema.child(key)
        if child is not None:
            if _absent(each, child) and child.has_default:
                value[key] = deepcopy(child.default)
            fill(value[key], child)


def _fill_items(value: list[Any], schema: Structural) -> None:
    below = schema.items
    if below is None:
        return
    for i, each in enumerate(value):
        if below.has_default and _absent(each, below):
            value[i] = deepcopy(below.default)
        fill(value[i], below)


def _absent(value: Any, schema: Structural) -> bool:
    return value is None and not schema.nullable


def embedded(
    value: Any, schema: Structural, found: Callable[[dict[str, Any], str], None], path: str = ""
) -> None:
    """Show all objects that lie inside another one."""
    if isinstance(value, list):
        if schema.items is not None:
            for i, each in enumerate(value):
                embedded(each, schema.items, found, f"{path}[{i}]")
        return
    if not isinstance(value, dict):
        return
    if schema.embedded:
        found(value, path)
    for key, each in value.items():
        below = schema.child(key)
        if below is not None:
            embedded(each, below, found, f"{path}.{key}" if path else key)
