"""Messages compiled from the table ``data/protobuf.json.gz``: what each field number is called in JSON, and its codec.

Readers answer every field that was sent, zero or not; writers send every field that is there. What an answer then
shows of empty values is the schema's business. Messages compile at first use; recursive ones refer to themselves.
"""

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from kybern.machinery import wire
from kybern.machinery.protospecial import SPECIAL, Read, Write

_EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1"
RAW = "k8s.io.apimachinery.pkg.runtime.RawExtension"
SCALAR_WIRE = {"string": 2, "bytes": 2, "bool": 0, "int32": 0, "int64": 0, "double": 1}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: how one value of it is read from the wire (whose type is ``form``) and written with its tag."""

    number: int
    name: str
    form: int
    read: Callable[[Any], Any]
    write: Callable[[Any], bytes]
    repeated: bool = False
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its own fields by number and by name, and the messages whose fields it shows as its own."""

    by_number: dict[int, Field]
    by_name: dict[str, Field]
    inline: dict[int, str]
    inline_names: frozenset[str]


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, list[dict[str, Any]]]]:
    packed = resources.files("kybern.machinery").joinpath("data/protobuf.json.gz").read_bytes()
    found: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(gzip.decompress(packed))
    return found


def known(package: str, name: str) -> bool:
    return name in _tables().get(package, {})


@lru_cache(maxsize=1024)
def message(full: str) -> Message:
    """The compiled message of a full name."""
    package, _, name = full.rpartition(".")
    own = [row for row in _tables()[package][name] if not row.get("inline")]
    inline = {row["n"]: _full(row["type"], package) for row in _tables()[package][name] if row.get("inline")}
    found = [_field(row, package) for row in own]
    shared: set[str] = set()
    for other in inline.values():
        below = message(other)
        shared |= below.by_name.keys() | below.inline_names
    return Message(
        {field.number: field for field in found},
        {field.name: field for field in found},
        inline,
        frozenset(shared),
    )


def _full(kind: str, package: str) -> str:
    kind = kind.removeprefix(".")
    return kind if "." in kind else f"{package}.{kind}"


def _field(row: dict[str, Any], package: str) -> Field:
    number, kind = row["n"], row["type"]
    name = row.get("json") or row["name"]
    if kind.startswith("map<"):
        inner = kind[4:-1].partition(",")[2].strip()
        read, write = _map_entry(number, _codec(inner, package), inner)
        return Field(number, name, wire.BYTES, read, write, mapped=True)
    read, plain = _codec(kind, package)
    form = SCALAR_WIRE.get(kind, wire.BYTES)
    return Field(number, name, form, read, _tagged(number, kind, plain), repeated=row.get("repeated", False))


def _tagged(number: int, kind: str, plain: Write) -> Write:
    form = SCALAR_WIRE.get(kind, wire.BYTES)
    head = wire.tag(number, form)
    if form == wire.BYTES:

        def write(value: Any) -> bytes:
            body = plain(value)
            return head + wire.varint(len(body)) + body

        return write
    return lambda value: head + plain(value)


def _map_entry(number: int, inner: tuple[Read, Write], kind: str) -> tuple[Read, Write]:
    read_value, plain = inner
    write_value = _tagged(2, kind, plain)
    empty: Any = {"string": "", "bytes": ""}.get(kind)

    def read(data: memoryview) -> tuple[str, Any]:
        key, value = "", empty if empty is not None else read_value(memoryview(b""))
        for place, _, each in wire.fields(data):
            if place == 1:
                key = _read_text(each)
            elif place == 2 and isinstance(each, memoryview):
                value = read_value(each)
        return key, value

    def write(entry: Any) -> bytes:
        key, value = entry
        return wire.delimited(number, wire.text(1, key) + write_value(value))

    return read, write


def _codec(kind: str, package: str) -> tuple[Read, Write]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    full = _full(kind, package)
    if full in SPECIAL:
        return SPECIAL[full]
    if full == RAW:
        # The envelope's module knows what may be in there; it needs this one.
        from kybern.machinery import protobuf  # noqa: PLC0415

        return protobuf.read_raw, protobuf.write_raw
    if full.startswith(f"{_EXTENSIONS}.JSONSchemaPropsOr"):
        return _schema_or(full.rpartition("Or")[2])
    return lambda data: read(full, data), lambda value: write(full, value)


def read(full: str, data: memoryview) -> dict[str, Any]:
    """A message as a JSON object."""
    compiled = message(full)
    found: dict[str, Any] = {}
    for number, form, value in wire.fields(data):
        field = compiled.by_number.get(number)
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


def write(full: str, value: dict[str, Any]) -> bytes:
    """A JSON object as a message, fields in the order of their numbers."""
    compiled = message(full)
    parts: list[tuple[int, bytes]] = []
    for number, other in compiled.inline.items():
        parts.append((number, wire.delimited(number, write(other, value))))
    for name, each in value.items():
        field = compiled.by_name.get(name)
        if field is None or each is None:
            continue
        if field.repeated:
            body = b"".join(map(field.write, each))
        elif field.mapped:
            body = b"".join(field.write(entry) for entry in sorted(each.items()))
        else:
            body = field.write(each)
        parts.append((field.number, body))
    return b"".join(body for _, body in sorted(parts))


PROPS = f"{_EXTENSIONS}.JSONSchemaProps"


def _schema_or(what: str) -> tuple[Read, Write]:
    """A schema, or something shorter in its place: a boolean, several schemas, or names."""

    def read_or(data: memoryview) -> Any:
        plain: Any = None
        several: list[Any] = []
        for number, _, value in wire.fields(data):
            if isinstance(value, int):
                plain = bool(value)
            elif number == 2 and what == "Array":
                several.append(read(PROPS, value))
            elif number == 2 and what == "StringArray":
                several.append(_read_text(value))
            else:
                plain = read(PROPS, value)
        return several or plain

    return read_or, lambda value: _write_schema_or(what, value)


def _write_schema_or(what: str, value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    if isinstance(value, list):
        bodies = [each.encode() if isinstance(each, str) else write(PROPS, each) for each in value]
        return b"".join(wire.delimited(2, body) for body in bodies)
    if what == "Bool":
        return b"\x08\x01" + wire.delimited(2, write(PROPS, value))
    return wire.delimited(1, write(PROPS, value))


def _read_text(value: int | memoryview) -> str:
    return wire.binary(value).decode(errors="replace")


_SCALARS: dict[str, tuple[Callable[[Any], Any], Write]] = {
    "string": (_read_text, lambda value: value.encode(errors="surrogatepass")),
    "bytes": (lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "bool": (bool, lambda value: b"\x01" if value else b"\x00"),
    "int32": (wire.signed, wire.varint),
    "int64": (wire.signed, wire.varint),
    "double": (wire.as_double, wire.double),
}
