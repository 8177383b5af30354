"""Lists whose items are told apart: none is there twice."""

import json
from collections.abc import Iterable
from typing import Any

from kybern.machinery.causes import duplicate
from kybern.machinery.errors import Cause
from kybern.machinery.structural.node import Structural


def lists(value: Any, schema: Structural, path: str = "") -> list[Cause]:
    """What is twice in a value's sets and maps: their items are told apart by value or by key."""
    found: list[Cause] = []
    if isinstance(value, list) and schema.items is not None:
        found += _twice(value, schema, path)
        for i, each in enumerate(value):
            found += lists(each, schema.items, f"{path}[{i}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            below = schema.child(key)
            if below is not None:
                found += lists(each, below, f"{path}.{key}" if path else key)
    return found


def _twice(value: list[Any], schema: Structural, path: str) -> Iterable[Cause]:
    seen: set[str] = set()
    if schema.list_type not in ("set", "map"):
        return
    for i, each in enumerate(value):
        shown = each
        if schema.list_type == "map":
            if not isinstance(each, dict):
                continue
            shown = {key: each[key] for key in sorted(schema.map_keys) if key in each}
        text = json.dumps(shown, sort_keys=True)
        if text in seen:
            yield duplicate(f"{path}[{i}]", shown)
        seen.add(text)
