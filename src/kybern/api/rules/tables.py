"""Printed values of ``kubectl get``: the columns and texts that many kinds share.

Missing values never fail: an object read from storage may be older than a field. ``<none>``, ``<unset>`` and
``<unknown>`` are upstream's words for nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from kybern.machinery.duration import human
from kybern.machinery.kind import Column, Raw, Table

NAME = Column("Name", format="name")
AGE = Column("Age")
CREATED_AT = Column("Created At", type="date")
NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"


def wide(name: str, type_: str = "string", format_: str = "") -> Column:
    """A column that shows only with ``-o wide``."""
    return Column(name, type_, format_, priority=1)


def dig(raw: Any, *path: str) -> Any:
    """The value at a path of keys, None where any part of it is missing."""
    for key in path:
        if not isinstance(raw, Mapping):
            return None
        raw = raw.get(key)
    return raw


def name(raw: Raw) -> str:
    return str(raw.get("metadata", {}).get("name", ""))


def seconds(text: str) -> float:
    """Unix time of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


def since(text: str | None, now: float) -> str:
    """How long ago a time was, in upstream's short form; ``<unknown>`` without a time."""
    return human(now - seconds(text)) if text else UNKNOWN


def age(raw: Raw, now: float) -> str:
    return since(raw.get("metadata", {}).get("creationTimestamp"), now)


def created_at(raw: Raw) -> str | None:
    found = raw.get("metadata", {}).get("creationTimestamp")
    return str(found) if found else None


def deleting(raw: Raw) -> bool:
    return bool(raw.get("metadata", {}).get("deletionTimestamp"))


def pairs(values: Mapping[str, str] | None) -> str:
    """A map as ``k=v,k=v``, sorted; ``<none>`` when empty."""
    if not values:
        return NONE
    return ",".join(f"{key}={value}" for key, value in sorted(values.items()))


def _term(expression: Mapping[str, Any]) -> tuple[str, str]:
    key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or ()))
    match expression.get("operator"):
        case "In":
            text = f"{key} in ({values})"
        case "NotIn":
            text = f"{key} notin ({values})"
        case "Exists":
            text = key
        case "DoesNotExist":
            text = f"!{key}"
        case _:
            text = "<error>"
    return key, text


def selector(raw: Mapping[str, Any] | None) -> str:
    """A label selector in selector syntax; ``<none>`` when it selects everything or nothing."""
    if not raw:
        return NONE
    terms = [(key, f"{key}={value}") for key, value in (raw.get("matchLabels") or {}).items()]
    terms += [_term(expression) for expression in raw.get("matchExpressions") or ()]
    if any(text == "<error>" for _, text in terms):
        return "<error>"
    return ",".join(text for _, text in sorted(terms)) or NONE


def containers(template: Any) -> tuple[str, str]:
    """Names and images of the containers of a pod template, each joined with commas."""
    found = dig(template, "spec", "containers") or ()
    names = ",".join(container.get("name", "") for container in found)
    return names, ",".join(container.get("image", "") for container in found)


def first(values: Iterable[str], limit: int, between: str = ",") -> str:
    """The first values joined, and how many more there are."""
    found = list(values)
    text = between.join(found[:limit])
    return f"{text} + {len(found) - limit} more..." if len(found) > limit else text


def condition(raw: Raw, kind: str) -> Raw | None:
    """The condition of a type in an object's status."""
    for found in dig(raw, "status", "conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return None


def simple(columns: tuple[Column, ...], middle: Callable[[Raw], list[Any]]) -> Table:
    """A table of the name, the given columns and the age: the most frequent form."""

    def cells(raw: Raw, now: float) -> list[Any]:
        return [name(raw), *middle(raw), age(raw, now)]

    return Table((NAME, *columns, AGE), cells)


AGED = simple((), lambda _raw: [])
CREATED = Table((NAME, CREATED_AT), lambda raw, _now: [name(raw), created_at(raw)])


def text(value: Any) -> str:
    """A value as text, empty when there is none."""
    return "" if value is None else str(value)
