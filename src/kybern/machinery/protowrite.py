"""JSON objects to messages, byte for byte as upstream writes them.

Fields go in the order of their numbers, maps in that of their keys. What is no pointer upstream is always written: an
object without a status has an empty one, a name that is not there is an empty string. Each message becomes one writer,
which has prepared what it needs for every field: heads, and what stands for a field that is not there. An object costs
what it has, not what it could have: what is there takes the place of what would stand for it.
"""

import base64
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from kybern.machinery import prototables, wire
from kybern.machinery.protospecial import SPECIAL, Write
from kybern.machinery.prototables import PROPS, RAW, Row

type _Step = tuple[Write, bytes]
_SIZES = tuple(size.to_bytes() for size in range(0x80))
_ABSENT = {
    "k8s.io.apimachinery.pkg.api.resource.Quantity": "0",
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": 0,
}


def size(body: bytes) -> bytes:
    """The length of a body, as it stands before it."""
    length = len(body)
    if length < 0x80:
        return _SIZES[length]
    return bytes((length & 0x7F | 0x80, length >> 7)) if length < 0x4000 else wire.varint(length)


class Writer:
    """Writes one kind of message."""

    __slots__ = ("_absent", "_by_name", "_inline")

    def __init__(self) -> None:
        self._absent: list[bytes] = []
        self._by_name: dict[str, tuple[int, Write]] = {}
        self._inline: tuple[tuple[int, Write], ...] = ()

    def prepare(self, full: str) -> None:
        inline = []
        for place, row in enumerate(prototables.rows(full)):
            if row.inline:
                inline.append((place, _headed(row.number, writer(row.type))))
                self._absent.append(b"")
            else:
                write, absent = _step(row)
                self._by_name[row.name] = place, write
                self._absent.append(absent)
        self._inline = tuple(inline)

    def __call__(self, value: Mapping[str, Any]) -> bytes:
        parts = self._absent.copy()
        find = self._by_name.get
        for name, each in value.items():
            if each is not None and (found := find(name)):
                parts[found[0]] = found[1](each)
        for place, write in self._inline:
            parts[place] = write(value)
        return b"".join(parts)


_writers: dict[str, Writer] = {}


def writer(full: str) -> Writer:
    """The writer of a message; recursive ones find themselves."""
    found = _writers.get(full)
    if found is None:
        found = _writers[full] = Writer()
        found.prepare(full)
    return found


def _step(row: Row) -> _Step:
    one = _tagged(row.number, row.type)
    if row.mapped:
        return _map(row), b""
    if row.repeated:
        return lambda value: b"".join(map(one, value)), b""
    if row.pointer or row.type == "bytes":
        return one, b""
    return one, wire.tag(row.number, row.form) + _zero(row.type)


def _zero(kind: str) -> bytes:
    """The zero value of a type, with its length where it has one."""
    if kind in prototables.SCALARS:
        return bytes(8) if prototables.form(kind) == wire.FIXED64 else b"\x00"
    return wire.varint(len(body := _empty(kind))) + body


@lru_cache(maxsize=1024)
def _empty(full: str) -> bytes:
    """A message of which nothing is set."""
    if full in _ABSENT:
        return SPECIAL[full][1](_ABSENT[full])
    if full in SPECIAL or full == RAW or prototables.schema_or(full):
        return b""
    return b"".join(
        wire.tag(row.number, row.form) + _zero(row.type)
        for row in prototables.rows(full)
        if not (row.pointer or row.repeated or row.mapped or row.type == "bytes")
    )


def _headed(number: int, body_of: Write) -> Write:
    """Writes what has a length: a message, a string, bytes."""
    head = wire.tag(number, wire.BYTES)

    def write(value: Any) -> bytes:
        body = body_of(value)
        return head + size(body) + body

    return write


def _text(number: int) -> Write:
    head = wire.tag(number, wire.BYTES)

    def write(value: str) -> bytes:
        body = value.encode(errors="surrogatepass")
        return head + size(body) + body

    return write


def _tagged(number: int, kind: str) -> Write:
    """Writes one value with its tag."""
    if kind == "string":
        return _text(number)
    if kind == "bool":
        no, yes = wire.tag(number, wire.VARINT) + b"\x00", wire.tag(number, wire.VARINT) + b"\x01"
        return lambda value: yes if value else no
    if kind in _NUMBERS:
        head, body_of = wire.tag(number, prototables.form(kind)), _NUMBERS[kind]
        return lambda value: head + body_of(value)
    return _headed(number, _body(kind))


def _body(kind: str) -> Write:
    if kind == "bytes":
        return base64.b64decode
    if kind in SPECIAL:
        return SPECIAL[kind][1]
    if kind == RAW:
        # The envelope's module knows what may be in there; it needs this one.
        from kybern.machinery import protobuf  # noqa: PLC0415

        return protobuf.write_raw
    if what := prototables.schema_or(kind):
        return lambda value: _schema_or(what, value)
    return writer(kind)


def _map(row: Row) -> Write:
    key, plain = _text(1), _tagged(2, row.type)
    absent = b"" if row.type == "bytes" else wire.tag(2, prototables.form(row.type)) + _zero(row.type)

    def entry(item: tuple[str, Any]) -> bytes:
        return key(item[0]) + (absent if item[1] is None else plain(item[1]))

    one = _headed(row.number, entry)
    return lambda value: b"".join(map(one, sorted(value.items(), key=_by_key)))


def _by_key(item: tuple[str, Any]) -> bytes:
    return item[0].encode(errors="surrogatepass")


def _schema_or(what: str, value: Any) -> bytes:
    """A schema, or something shorter in its place: a boolean, several schemas, or names."""
    if what == "Bool":
        if isinstance(value, bool):
            return b"\x08\x01" if value else b"\x08\x00"
        return b"\x08\x01" + wire.delimited(2, writer(PROPS)(value))
    if isinstance(value, list):
        bodies = [each.encode() if isinstance(each, str) else writer(PROPS)(each) for each in value]
        return b"".join(wire.delimited(2, body) for body in bodies)
    return wire.delimited(1, writer(PROPS)(value))


_NUMBERS: dict[str, Callable[[Any], bytes]] = {
    "int32": wire.varint,
    "int64": wire.varint,
    "double": wire.double,
}
