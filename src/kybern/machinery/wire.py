"""The protobuf wire format: varints, lengths, fields. Nothing of Kubernetes."""

import struct
from collections.abc import Iterator

from kybern.machinery.errors import BadRequest

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIRST, SECOND = 0x0A, 0x12  # the tags of fields 1 and 2, with a length
_SIGNED = 1 << 63
_WRAP = 1 << 64


class Malformed(BadRequest):
    """Bytes that are no protobuf message."""


def varint(number: int) -> bytes:
    """A number of up to 64 bits; negative ones as two's complement, which takes ten bytes."""
    if 0 <= number < 0x80:
        return number.to_bytes()
    number &= _WRAP - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def signed(number: int) -> int:
    """A varint read as int32 or int64."""
    return number - _WRAP if number >= _SIGNED else number


def tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def delimited(number: int, body: bytes) -> bytes:
    """A field with a length: a message, a string, bytes."""
    return tag(number, BYTES) + varint(len(body)) + body


def text(number: int, value: str) -> bytes:
    return delimited(number, value.encode(errors="surrogatepass"))


def binary(value: int | bytes) -> bytes:
    """The bytes of a field with a length."""
    if isinstance(value, int):
        raise Malformed("proto: wrong wireType = 0 for bytes")
    return value


def double(value: float) -> bytes:
    return struct.pack("<d", value)


def as_double(bits: int) -> float:
    found: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return found


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    end = len(data)
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    found = shift = 0
    while True:
        if at >= end or shift > 63:
            raise Malformed("unexpected EOF" if at >= end else "proto: integer overflow")
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, at
        shift += 7


def scalar(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """A value without a length, as an integer, and the place behind it."""
    if kind == VARINT:
        return read_varint(data, at)
    if kind not in {FIXED64, FIXED32}:
        raise Malformed(f"proto: illegal wireType {kind}")
    size = 8 if kind == FIXED64 else 4
    if at + size > len(data):
        raise Malformed("unexpected EOF")
    return int.from_bytes(data[at : at + size], "little"), at + size


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Every field of a message: its number, its wire type, its value (an integer, or the bytes)."""
    at, end = 0, len(data)
    while at < end:
        key, at = read_varint(data, at)
        kind = key & 7
        if kind != BYTES:
            number, at = scalar(data, at, kind)
            yield key >> 3, kind, number
            continue
        size, at = read_varint(data, at)
        value = data[at : at + size]
        at += size
        if at > end:
            raise Malformed("unexpected EOF")
        yield key >> 3, kind, value
