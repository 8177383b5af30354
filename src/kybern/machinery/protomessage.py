"""Messages to JSON objects.

Readers answer every field that was sent, zero or not: what an answer then shows of empty values is the schema's
business. Messages compile at first use; recursive ones find themselves. The common case is short: a known field of the
expected wire type, whose tag and length are a byte each.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.machinery import prototables, wire
from kybern.machinery.protospecial import SPECIAL, Read
from kybern.machinery.prototables import PROPS, RAW, Row


@dataclass(frozen=True, slots=True)
class Field:
    """One field: how one value of it is read from the wire, whose type is ``form``.

    ``single``: it is the value. Else it is one of several, an entry of a map, or, inline, several of the owner's fields.
    """

    name: str
    form: int
    read: Callable[[Any], Any]
    repeated: bool
    mapped: bool
    single: bool


class Reader:
    """Reads one kind of message."""

    __slots__ = ("_by_number", "_by_tag")

    def __init__(self) -> None:
        self._by_tag: dict[int, Field] = {}
        self._by_number: dict[int, Field] = {}

    def prepare(self, full: str) -> None:
        for row in prototables.rows(full):
            field = _field(row)
            self._by_tag[row.number << 3 | row.form] = self._by_number[row.number] = field

    def __call__(self, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {}
        by_tag = self._by_tag.get
        at, end = 0, len(data)
        while at < end:
            tag = data[at]
            at += 1
            if tag >= 0x80:
                tag, at = wire.read_varint(data, at - 1)
            kind = tag & 7
            value: int | bytes
            if kind == wire.BYTES:
                size = data[at] if at < end else 0x80
                at += 1
                if size >= 0x80:
                    size, at = wire.read_varint(data, at - 1)
                value = data[at : at + size]
                at += size
                if at > end:
                    raise wire.Malformed("unexpected EOF")
            else:
                value, at = wire.scalar(data, at, kind)
            field = by_tag(tag)
            if field is None:
                self._unusual(tag, value, found)
            elif field.single:
                found[field.name] = field.read(value)
            else:
                _take(field, value, found)
        return found

    def _unusual(self, tag: int, value: int | bytes, found: dict[str, Any]) -> None:
        """Fields of a newer client are skipped; numbers may come packed."""
        field = self._by_number.get(tag >> 3)
        if field is not None:
            found[field.name] = _packed(field, value)


def _take(field: Field, value: int | bytes, found: dict[str, Any]) -> None:
    each = field.read(value)
    if field.repeated:
        found.setdefault(field.name, []).append(each)
    elif field.mapped:
        found.setdefault(field.name, {})[each[0]] = each[1]
    else:
        found.update(each)


_readers: dict[str, Reader] = {}


def reader(full: str) -> Reader:
    """The reader of a message of a full name."""
    found = _readers.get(full)
    if found is None:
        found = _readers[full] = Reader()
        found.prepare(full)
    return found


def _field(row: Row) -> Field:
    read = _map_entry(row.type) if row.mapped else _reader(row.type)
    single = not (row.repeated or row.mapped or row.inline)
    return Field(row.name, row.form, read, row.repeated, row.mapped, single)


def _map_entry(kind: str) -> Callable[[Any], Any]:
    read_value = _reader(kind)
    empty: Any = {"string": "", "bytes": ""}.get(kind)

    def read(data: bytes) -> tuple[str, Any]:
        key_end = 2 + data[1] if len(data) > 3 and data[0] == wire.FIRST else len(data)
        if key_end + 1 < len(data) and data[key_end] == wire.SECOND:
            # The usual case: key and value in this order, both short, nothing else.
            begin = key_end + 2
            if data[1] < 0x80 and data[key_end + 1] == len(data) - begin < 0x80:
                return str(data[2:key_end], "utf-8", "replace"), read_value(data[begin:])
        key, value = "", empty if empty is not None else read_value(b"")
        for place, _, each in wire.fields(data):
            if place == 1:
                key = _read_text(each)
            elif place == 2 and isinstance(each, bytes):
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
    return reader(kind)


def _packed(field: Field, value: int | bytes) -> list[Any]:
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

    def read_or(data: bytes) -> Any:
        plain: Any = None
        several: list[Any] = []
        for number, _, value in wire.fields(data):
            if isinstance(value, int):
                plain = bool(value) if plain is None else plain
            elif number == 2 and what == "Array":
                several.append(reader(PROPS)(value))
            elif number == 2 and what == "StringArray":
                several.append(_read_text(value))
            else:
                plain = reader(PROPS)(value)
        return several or plain

    return read_or


def _read_text(value: int | bytes) -> str:
    return str(value, "utf-8", "replace") if isinstance(value, bytes) else wire.binary(value).decode()


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "string": _read_text,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "bool": bool,
    "int32": wire.signed,
    "int64": wire.signed,
    "double": wire.as_double,
}
