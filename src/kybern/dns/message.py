"""Messages as they come over the wire (RFC 1035, 6891): questions of clients, answers of other name servers. Pure.

Written here and not taken from a library: a name server for one zone needs the header, one question and the places of
times to live, and libraries build an object for every record (docs/adr/0015). What is malformed raises ``Malformed``
before anything is believed of it: a pointer that does not lead back, a length beyond the message's end, a long name.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from kybern.dns.records import AAAA, CNAME, SOA, A, Record

HEADER = 12
QR, AA, TC, RD, RA, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
OPT, IN = 41, 1
PLAIN_SIZE = 512  # bytes of an answer by UDP to who says nothing
MOST = 1232  # bytes of any answer by UDP: passes every network unfragmented
_LONGEST = 255
_DO = 0x8000


class Malformed(Exception):
    """Bytes that are no message."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks. ``section`` is its question as sent (case and all), ``name`` lower case without the last dot.

    ``size`` is what it can take by UDP, in bytes; ``edns`` whether it said so, ``version`` of what; ``dnssec`` its DO flag.
    """

    id: int
    flags: int
    name: str
    kind: int
    group: int
    section: bytes
    edns: bool = False
    size: int = PLAIN_SIZE
    version: int = 0
    dnssec: bool = False

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 15


@dataclass(frozen=True, slots=True)
class Found:
    """A record of an answer, by its place: ``at`` where its time to live stands, ``data`` to ``end`` its contents."""

    name: int
    kind: int
    ttl: int
    at: int
    data: int
    end: int
    section: int


def read(message: bytes) -> Question:
    """The question of a client. Raises Malformed for all that is no single question."""
    if len(message) < HEADER:
        raise Malformed("shorter than a header")
    number, flags, asked, answers, authorities, more = struct.unpack_from("!6H", message)
    if flags & QR or asked != 1 or answers or authorities:
        raise Malformed("not one question")
    labels, at = name_at(message, HEADER)
    if at + 4 > len(message) or any(byte & 0xC0 for byte in _lengths(message, HEADER)):
        raise Malformed("a question without type and class, or with a pointer")
    kind, group = struct.unpack_from("!2H", message, at)
    question = Question(number, flags, labels, kind, group, message[HEADER : at + 4])
    at += 4
    for _ in range(more):
        at, found = _record(message, at, 3)
        if found.kind == OPT:
            size, high = struct.unpack_from("!HI", message, found.at - 2)
            return Question(
                number, flags, labels, kind, group, question.section, True,
                max(PLAIN_SIZE, size), high >> 16 & 0xFF, bool(high & _DO),
            )  # fmt: skip
    return question


def _lengths(message: bytes, at: int) -> Iterator[int]:
    while message[at]:
        yield message[at]
        if message[at] & 0xC0:
            return
        at += message[at] + 1


def name_at(message: bytes, at: int) -> tuple[str, int]:
    """The name at a place, lower case and without the last dot, and where what follows it begins."""
    labels: list[bytes] = []
    end, length, before = 0, 1, at + 1
    while True:
        if at >= len(message):
            raise Malformed("a name that does not end")
        size = message[at]
        if size & 0xC0 == 0xC0 and at + 1 < len(message):
            end = end or at + 2
            at = (size & 0x3F) << 8 | message[at + 1]
            if at >= before:
                raise Malformed("a pointer that does not lead back")
            before = at
            continue
        length += size + 1
        if size & 0xC0 or at + 1 + size > len(message) or length - 1 > _LONGEST:
            raise Malformed("a label or a name that is too long")
        if not size:
            # A dot inside of a label is no border: escaped, it matches no name of ours.
            shown = b".".join(label.replace(b".", b"\\.") for label in labels)
            return shown.decode("latin-1").lower(), end or at + 1
        labels.append(message[at + 1 : at + 1 + size])
        at += size + 1


def _record(message: bytes, at: int, section: int) -> tuple[int, Found]:
    begin = at
    _, at = name_at(message, at)
    if at + 10 > len(message):
        raise Malformed("a record without its head")
    kind, _group, ttl, length = struct.unpack_from("!HHIH", message, at)
    end = at + 10 + length
    if end > len(message):
        raise Malformed("a record that does not end")
    return end, Found(begin, kind, ttl, at + 4, at + 10, end, section)


def records_of(message: bytes) -> tuple[Found, ...]:
    """All records of an answer: section 1 answer, 2 authority, 3 additional. Raises Malformed."""
    if len(message) < HEADER:
        raise Malformed("shorter than a header")
    _, _, asked, *counts = struct.unpack_from("!6H", message)
    at = HEADER
    for _ in range(asked):
        at = name_at(message, at)[1] + 4
    found = []
    for section, count in enumerate(counts, 1):
        for _ in range(count):
            at, one = _record(message, at, section)
            found.append(one)
    return tuple(found)


def lifetime(message: bytes, found: tuple[Found, ...]) -> int:
    """For how many seconds an answer may be kept: its least time to live, or what its SOA says of nothing (RFC 2308)."""
    code = struct.unpack_from("!H", message, 2)[0] & 15
    answers = [one.ttl for one in found if one.section == 1]
    if answers and not code:
        return min(answers)
    soas = [one for one in found if one.section == 2 and one.kind == SOA and one.end - one.data >= 22]
    if code not in (0, 3) or not soas:
        return 0
    (least,) = struct.unpack_from("!I", message, soas[0].end - 4)
    return min(soas[0].ttl, int(least))


def addresses_of(message: bytes) -> tuple[Record, ...]:
    """The addresses of an answer and the names that lead to them, in its order."""
    return tuple(
        _shown(message, one) for one in records_of(message) if one.section == 1 and one.kind in _SHOWN
    )


def _shown(message: bytes, found: Found) -> Record:
    name, data = name_at(message, found.name)[0], message[found.data : found.end]
    target = name_at(message, found.data)[0] if found.kind == CNAME else ""
    if "\\" in name + target:
        raise Malformed("a dot within a label, which is written as a border")
    if found.kind == CNAME:
        return Record(name, CNAME, target)
    if len(data) != _SHOWN[found.kind]:
        raise Malformed("an address of a wrong length")
    return Record(name, found.kind, _address(data))


_SHOWN = {A: 4, AAAA: 16, CNAME: 0}


def _address(data: bytes) -> str:
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))
