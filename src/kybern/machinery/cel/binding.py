"""JSON values as expressions see them: a date is a time, a number is no integer, fields bear their identifiers.

A binder is made once from a schema. There is none for what is seen as it is, and most things are: nothing is copied then.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from kybern.machinery import duration, times
from kybern.machinery.cel.names import escaped, reserved
from kybern.machinery.cel.schemas import Schema, either, with_meta
from kybern.machinery.cel.values import Duration, EvaluationError, ListMap, ListSet, Timestamp
from kybern.machinery.structural.node import EMBEDDED, LIST_TYPE, MAP_KEYS, PRESERVE

type Bind = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"[.,]([0-9]+)")


def binder(schema: Schema, *, root: bool = False) -> Bind | None:
    """What turns values of a schema into those of expressions; None: they are the same."""
    if either(schema):
        return None
    if root:
        schema = with_meta(schema)
    kind = schema.get("type")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return _list(schema)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        inner = _inner(schema["additionalProperties"])
        return inner and partial(_map, inner)
    if kind == "object":
        return _object(schema)
    if kind == "number":
        return _double
    return _FORMATS.get(schema.get("format") or "") if kind == "string" else None


def _inner(schema: Schema) -> Bind | None:
    return binder(schema, root=bool(schema.get(EMBEDDED)))


def _double(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _list(schema: Schema) -> Bind | None:
    inner = _inner(schema["items"])
    kind = schema.get(LIST_TYPE)
    if kind == "map":
        keys = tuple(escaped(key) or key for key in schema.get(MAP_KEYS) or ())
        return partial(_listed, lambda items: ListMap(items, keys), inner)
    if kind == "set":
        return partial(_listed, ListSet, inner)
    return inner and partial(_listed, list, inner)


def _listed(make: Callable[[Any], list[Any]], inner: Bind | None, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return make(value if inner is None else [None if each is None else inner(each) for each in value])


def _map(inner: Bind, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: None if each is None else inner(each) for key, each in value.items()}


def _object(schema: Schema) -> Bind | None:
    inner: dict[str, Bind] = {}
    names: dict[str, str] = {}
    nullable = False
    for key, each in (schema.get("properties") or {}).items():
        bind = _inner(each)
        if bind is not None:
            inner[key] = bind
        nullable = nullable or bool(each.get("nullable")) or bool(each.get(PRESERVE))
        identifier = escaped(key)
        if identifier is not None and identifier != key:
            names[key] = identifier
    return partial(_fields, names, inner) if names or inner or nullable else None


def _fields(names: Mapping[str, str], inner: Mapping[str, Bind], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = {}
    for key, each in value.items():
        if each is None:
            continue  # a field that is null is one that is not there
        bind = inner.get(key)
        seen = each if bind is None else bind(each)
        found[names.get(key, key)] = seen
        if reserved(key):
            found[key] = seen
    return found


def _duration(value: Any) -> Any:
    return _read("duration", value, lambda text: Duration(duration.parse(text)))


def _day(value: Any) -> Any:
    return _read(
        "date",
        value,
        lambda text: _moment(datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)),
    )


def _time(value: Any) -> Any:
    return _read("date-time", value, time)


def time(text: str) -> Timestamp:
    """A time with all its digits; raises TimeError."""
    fraction = _FRACTION.search(text)
    found = _moment(times.parse(text).replace(microsecond=0))
    rest = int(fraction[1][:9].ljust(9, "0")) if fraction else 0
    return Timestamp(found.nanoseconds + rest)


def _moment(moment: datetime) -> Timestamp:
    past = moment - _EPOCH
    return Timestamp((past.days * 86400 + past.seconds) * 10**9)


def _bytes(value: Any) -> Any:
    return _read(
        "byte", value, lambda text: base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    )


def _read(form: str, value: Any, read: Callable[[str], Any]) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read(value)
    except (ValueError, binascii.Error) as problem:
        raise EvaluationError(f"Invalid {form} formatted string {value}: {problem}") from None


_FORMATS: Mapping[str, Bind] = {"duration": _duration, "date": _day, "date-time": _time, "byte": _bytes}
