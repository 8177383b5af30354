"""Header blocks of HTTP/2 (RFC 7541), without a dynamic table.

The server is told to keep none (SETTINGS_HEADER_TABLE_SIZE 0), and we never add to its own: so a block means the same
wherever it stands, and what the few different blocks of a connection mean is worked out once. Of the static table only
the statuses are known here, since no other indexed field is looked at; those have the name "".
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from kybern.storage.http2 import huffman

_STATUSES = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}
_STATIC = 61
_MOST_SHIFT = 28


class Malformed(Exception):
    """Bytes that are no header block, or one that needs a dynamic table."""


def encoded(fields: Iterable[tuple[str, str]]) -> bytes:
    """A block of literal fields that nobody is to remember."""
    return b"".join(b"\0%b%b" % (_text(name), _text(value)) for name, value in fields)


def _text(text: str) -> bytes:
    raw = text.encode()
    return _integer(len(raw), 7) + raw


def _integer(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    found, value = [most], value - most
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes((*found, value))


@lru_cache(maxsize=128)
def decoded(block: bytes) -> Mapping[str, str]:
    """The fields by name; of a name that comes twice the last. Raises Malformed."""
    fields: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _read_integer(block, at, 7)
                _indexed(index, fields)
            elif first & 0xE0 == 0x20:
                _, at = _read_integer(block, at, 5)
            else:
                index, at = _read_integer(block, at, 6 if first & 0x40 else 4)
                name, at = (_name(index), at) if index else _read_text(block, at)
                fields[name], at = _read_text(block, at)
    except (IndexError, UnicodeDecodeError) as error:
        raise Malformed("cannot read a header block: it ends too early, or is no text") from error
    return fields


def _indexed(index: int, fields: dict[str, str]) -> None:
    name = _name(index)
    if name:
        fields[name] = _STATUSES[index]


def _name(index: int) -> str:
    if not 0 < index <= _STATIC:
        raise Malformed(f"cannot read a header block: it refers to entry {index} of a table that is not kept")
    return ":status" if index in _STATUSES else ""


def _read_integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at
        if shift > _MOST_SHIFT:
            raise Malformed("cannot read a header block: a number in it is too long")


def _read_text(block: bytes, at: int) -> tuple[str, int]:
    squeezed = bool(block[at] & 0x80)
    length, at = _read_integer(block, at, 7)
    end = at + length
    if end > len(block):
        raise IndexError
    raw = huffman.decoded(block[at:end]) if squeezed else block[at:end]
    return raw.decode(), end
