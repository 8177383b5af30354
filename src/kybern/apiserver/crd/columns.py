"""How a custom kind prints: the columns that its definition names, or its age."""

import json
from collections.abc import Callable
from typing import Any

from kybern.api.rules.tables import since
from kybern.apiserver.crd import jsonpath
from kybern.apiserver.render import CREATED, NAME
from kybern.machinery.kind import Column, Raw, Table
from kybern.machinery.times import TimeError

type Cell = Callable[[Raw, float], Any]

_AGE = ".metadata.creationTimestamp"


def table(version: Raw) -> Table:
    """The table of one version of a definition."""
    wanted = version.get("additionalPrinterColumns")
    if not wanted:
        wanted = [{"name": "Age", "type": "date", "jsonPath": _AGE, "description": CREATED}]
    columns = [Column("Name", "string", "name", NAME)]
    cells: list[Cell] = []
    for each in wanted:
        said = each.get("description") or _described(each["jsonPath"])
        columns.append(
            Column(each["name"], each["type"], each.get("format", ""), said, each.get("priority", 0))
        )
        cells.append(_cell(each["type"], each["jsonPath"]))

    def row(raw: Raw, now: float) -> list[Any]:
        return [raw["metadata"].get("name", ""), *(cell(raw, now) for cell in cells)]

    return Table(tuple(columns), row)


def _described(path: str) -> str:
    return f"Custom resource definition column (in JSONPath format): {path}"


def _cell(kind: str, path: str) -> Cell:
    try:
        steps = jsonpath.path(path)
    except jsonpath.Malformed:
        return lambda _raw, _now: None

    def cell(raw: Raw, now: float) -> Any:
        found = jsonpath.find(steps, raw)
        if not found:
            return None
        if kind == "string":
            return " ".join(_text(each) for each in found)
        return _value(kind, found[0], now)

    return cell


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _value(kind: str, value: Any, now: float) -> Any:
    if kind == "date":
        return _since(value, now)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if kind == "integer" else value


def _since(value: Any, now: float) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return since(value, now)
    except (TimeError, ValueError):
        return "<invalid>"
