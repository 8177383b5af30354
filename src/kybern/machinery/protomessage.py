"""Messages to JSON objects.

Readers answer every field that was sent, zero or not: what an answer then shows of empty values is the schema's
business. Messages compile at first use; recursive ones refer to themselves.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kybern.machinery import prototables, wire
from kybern.machinery.protospecial import SPECIAL, Read
from kybern.machinery.prototables import PROPS, RAW, Row


@dataclass(frozen=True, slots=True)
class Field:
    """One field: how one value of it is read from the wire, whose type is ``form``."""

    name: str
    form: int
    read: Callable[[Any], Any]
    repeated: bool
    mapped: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its own fields by number, and the messages whose fields it shows as its own."""

    fields: dict[int, Field]
    inline: dict[int, str]


@lru_cache(maxsize=1024)
def message(full: str) -> Message:
    """The compiled message of a full name."""
    rows = prototables.rows(full)
    return Message(
        {row.number: _field(row) for row in rows if not row.inline},
        {row.number: row.type for row in rows if row.inline},
    )


def _field(row: Row) -> Field:
    read = _map_entry(row.type) if row.mapped else _reader(row.type)
    return Field(row.name, row.form, read, row.repeated, row.mapped)


def _map_entry(kind: str) -> Read:
    read_value = _reader(kind)
    empty: Any = {"string": "", "bytes": ""}.get(kind)

    def read(data: memoryview) -> tuple[str, Any]:
        key, value = "", empty if empty is not None else read_value(memoryview(b""))
        for place, _, each in wire.fields(data):
            if place == 1:
                key = _read_text(each)
            elif place == 2 and isinstance(each, memoryview):
                value = read_value(each)
        return key, value

    return read


def _reader(kind: str) -> Callable[[Any], Any]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind in SPECIAL:
        return SPECIAL[kind][0]
    if kind == RAW:
        # The envelope's module knows what may be in there; it needs this one.
        from kybern.machinery import protobuf  # noqa: PLC0415

        return protobuf.read_raw
    if what := prototables.schema_or(kind):
        return _schema_or(what)
    return lambda data: read(kind, data)


def read(full: str, data: memoryview) -> dict[str, Any]:
    """A message as a JSON object."""
    compiled = message(full)
    found: dict[str, Any] = {}
    for number, form, value in wire.fields(data):
        field = compiled.fields.get(number)
        if field is None:
            if number in compiled.inline and isinstance(value, memoryview):
                found.update(read(compiled.inline[number], value))
        elif form != field.form:
            found[field.name] = _packed(field, value)
        elif field.repeated:
            found.setdefault(field.name, []).append(field.read(value))
        elif field.mapped:
            key, each = field.read(value)
            found.setdefault(field.name, {})[key] = each
        else:
            found[field.name] = field.read(value)
    return found


def _packed(field: Field, value: int | memoryview) -> list[Any]:
    """Numbers of a repeated field in one piece, as newer writers send them."""
    if not field.repeated or field.form != wire.VARINT or isinstance(value, int):
        raise wire.Malformed(f"proto: wrong wireType for field {field.name}")
    found, at = [], 0
    while at < len(value):
        number, at = wire.read_varint(value, at)
        found.append(field.read(number))
    return found


def _schema_or(what: str) -> Read:
    """A schema, or something shorter in its place: a boolean, several schemas, or names."""

    def read_or(data: memoryview) -> Any:
        plain: Any = None
        several: list[Any] = []
        for number, _, value in wire.fields(data):
            if isinstance(value, int):
                plain = bool(value) if plain is None else plain
            elif number == 2 and what == "Array":
                several.append(read(PROPS, value))
            elif number == 2 and what == "StringArray":
                several.append(_read_text(value))
            else:
                plain = read(PROPS, value)
        return several or plain

    return read_or


def _read_text(value: int | memoryview) -> str:
    return wire.binary(value).decode(errors="replace")


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": _read_text,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "bool": bool,
    "int32": wire.signed,
    "int64": wire.signed,
    "double": wire.as_double,
}
