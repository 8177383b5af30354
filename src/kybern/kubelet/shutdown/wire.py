"""D-Bus messages as bytes, as far as logind and systemd need them. Pure; the form is that of the D-Bus specification, 0.38.

Values are Python's own by the signature: y n q i u x t h are int, b is bool, d float, s o g str, a list; v is read
as what it holds, and written from a pair of type and value.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

HEAD = 16
_MOST = 1 << 27
_FIXED = {
    "y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I",
}  # fmt: skip
_ALIGNED = {"s": 4, "o": 4, "a": 4, "g": 1, "v": 1, "(": 8, "{": 8}
# Header fields by number, with the type that each has.
_FIELDS = {
    1: ("path", "o"), 2: ("interface", "s"), 3: ("member", "s"), 4: ("error", "s"), 5: ("reply_to", "u"),
    6: ("destination", "s"), 7: ("sender", "s"), 8: ("signature", "g"), 9: ("files", "u"),
}  # fmt: skip


class Kind(IntEnum):
    CALL = 1
    ANSWER = 2
    ERROR = 3
    SIGNAL = 4


class BadMessage(ValueError):
    """Bytes that are no message of this form."""


@dataclass(frozen=True, slots=True)
class Message:
    """``files`` is how many open files come with it; a value of type h counts them from 0."""

    kind: Kind
    serial: int
    path: str = ""
    interface: str = ""
    member: str = ""
    error: str = ""
    reply_to: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""
    files: int = 0
    body: tuple[Any, ...] = ()


def encode(message: Message) -> bytes:
    """In little-endian order."""
    body = bytearray()
    for signature, value in zip(_split(message.signature), message.body, strict=True):
        _put(body, signature, value)
    fields = [
        (number, kind, getattr(message, name))
        for number, (name, kind) in _FIELDS.items()
        if getattr(message, name)
    ]
    head = bytearray(struct.pack("<cBBBII", b"l", message.kind, 0, 1, len(body), message.serial))
    listed = bytearray()
    for number, kind, value in fields:
        _pad(listed, 8)
        listed.append(number)
        _put(listed, "v", (kind, value))
    head += struct.pack("<I", len(listed)) + listed
    _pad(head, 8)
    return bytes(head + body)


def _put(out: bytearray, signature: str, value: Any) -> None:
    if signature in _FIXED:
        size = struct.calcsize(_FIXED[signature])
        _pad(out, size)
        out += struct.pack(f"<{_FIXED[signature]}", value)
    elif signature in ("s", "o", "g"):
        data = value.encode()
        if signature == "g":
            out.append(len(data))
        else:
            _pad(out, 4)
            out += struct.pack("<I", len(data))
        out += data + b"\0"
    elif signature == "v":
        kind, inner = value
        _put(out, "g", kind)
        _put(out, kind, inner)
    elif signature[0] == "(":
        _pad(out, 8)
        for part, each in zip(_split(signature[1:-1]), value, strict=True):
            _put(out, part, each)
    elif signature[0] == "a":
        _put_list(out, signature[1:], value)
    else:
        raise BadMessage(f'cannot write values of type "{signature}"')


def _put_list(out: bytearray, of: str, values: Sequence[Any]) -> None:
    """Its length in bytes, without what lies before the first value."""
    _pad(out, 4)
    at = len(out)
    out += bytes(4)
    _pad(out, _ALIGNED.get(of[0]) or struct.calcsize(_FIXED[of[0]]))
    begin = len(out)
    for value in values:
        _put(out, of, value)
    struct.pack_into("<I", out, at, len(out) - begin)


def _pad(out: bytearray, to: int) -> None:
    out += bytes(-len(out) % to)


def size(head: bytes) -> int:
    """The length of a message whose first 16 bytes these are; raises BadMessage."""
    order = _order(head)
    body, fields = struct.unpack_from(f"{order}I", head, 4)[0], struct.unpack_from(f"{order}I", head, 12)[0]
    whole = HEAD + fields + (-fields % 8) + body
    if whole > _MOST:
        raise BadMessage(f"a message of {whole} bytes is longer than D-Bus allows")
    return int(whole)


def _order(head: bytes) -> str:
    if head[:1] not in (b"l", b"B") or head[3] != 1:
        raise BadMessage(f"cannot read a message that begins with {head[:4].hex()}")
    return "<" if head[:1] == b"l" else ">"


def decode(data: bytes) -> Message:
    """Raises BadMessage."""
    try:
        reader = _Reader(data, _order(data))
        reader.at = 1
        kind = Kind(reader.value("y"))
        reader.at = 8
        serial = reader.value("u")
        found: dict[str, Any] = {}
        for number, value in reader.value("a(yv)"):
            if number in _FIELDS:
                found[_FIELDS[number][0]] = value
        reader.align(8)
        body = tuple(reader.value(part) for part in _split(found.get("signature", "")))
        return Message(kind, serial, **found, body=body)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as problem:
        raise BadMessage(f"cannot read a message: {problem}") from problem


class _Reader:
    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self.at = 0

    def align(self, to: int) -> None:
        self.at += -self.at % to

    def value(self, signature: str) -> Any:
        first = signature[0]
        if first in _FIXED:
            found = self._fixed(_FIXED[first])
            return bool(found) if first == "b" else found
        self.align(_ALIGNED.get(first, 1))
        match first:
            case "s" | "o" | "g":
                return self._text("B" if first == "g" else "I")
            case "v":
                return self.value(self._text("B"))
            case "a":
                return self._list(signature[1:])
            case "(" | "{":
                return tuple(self.value(part) for part in _split(signature[1:-1]))
        raise BadMessage(f'unknown type "{signature}"')

    def _fixed(self, form: str) -> Any:
        self.align(struct.calcsize(form))
        (found,) = struct.unpack_from(self._order + form, self._data, self.at)
        self.at += struct.calcsize(form)
        return found

    def _text(self, length: str) -> str:
        count = self._fixed(length)
        found = self._data[self.at : self.at + count].decode()
        self.at += count + 1
        return found

    def _list(self, of: str) -> list[Any]:
        length = self._fixed("I")
        self.align(_ALIGNED.get(of[0]) or struct.calcsize(_FIXED[of[0]]))
        end, found = self.at + length, []
        while self.at < end:
            found.append(self.value(of))
        return found


def _split(signature: str) -> Sequence[str]:
    """The single types of a signature. Raises BadMessage."""
    found, start, depth = [], 0, 0
    for at, letter in enumerate(signature):
        depth += (letter in "({") - (letter in ")}")
        if depth == 0 and letter != "a":
            found.append(signature[start : at + 1])
            start = at + 1
    if depth or start != len(signature):
        raise BadMessage(f'"{signature}" is no signature')
    return found
