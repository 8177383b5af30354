"""Answers as bytes (RFC 1035, 6891). Pure.

The client's question goes back as it was sent; names that end as it does are pointers into it. What does not fit into
``limit`` is left out: first the additional records, which nobody needs, then answers, with the TC flag, so that the
client asks again by TCP.
"""

import struct
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from kybern.dns.answer import Answer
from kybern.dns.message import AA, CD, HEADER, IN, MOST, OPT, QR, RA, RD, TC, Question
from kybern.dns.records import AAAA, CNAME, NS, PTR, SOA, SRV, TXT, A, Record

_BADVERS = 16
_OPT = struct.pack("!BHHIH", 0, OPT, MOST, 0, 0)
_NAMES = (CNAME, NS, PTR)


def render(question: Question, answer: Answer, ttl: int, limit: int, *, authoritative: bool = True) -> bytes:
    """The whole message; ``ttl`` in seconds for every record, ``limit`` in bytes."""
    flags = QR | RA | (question.flags & (0x7800 | RD | CD)) | (AA if authoritative else 0) | answer.rcode
    room = limit - (len(_OPT) if question.edns else 0)
    writer = _Writer(question, room)
    counts = [writer.write(part, ttl) for part in (answer.records, answer.authority)]
    cut = counts != [len(answer.records), len(answer.authority)]
    more = 0 if cut else writer.whole(answer.additional, ttl)
    if question.edns:
        writer.out += _OPT
        more += 1
    struct.pack_into("!6H", writer.out, 0, question.id, flags | (TC if cut else 0), 1, *counts, more)
    return bytes(writer.out)


def failure(question: Question, rcode: int) -> bytes:
    """An answer that says what is wrong and no more."""
    return render(question, Answer(rcode), 0, MOST, authoritative=False)


def truncated(question: Question) -> bytes:
    """An answer by UDP that says: ask again by TCP."""
    found = bytearray(failure(question, 0))
    found[2] |= TC >> 8
    return bytes(found)


def bad_version(question: Question) -> bytes:
    """For a version of EDNS that is not known: BADVERS, whose upper bits stand in the OPT record."""
    found = bytearray(failure(replace(question, edns=True), 0))
    found[-6] = _BADVERS >> 4
    return bytes(found)


def malformed(message: bytes) -> bytes:
    """FORMERR to whoever sent what could not be read; nothing (no bytes) to what was no question at all."""
    if len(message) < HEADER or message[2] & 0x80:
        return b""
    flags = QR | 1 | struct.unpack_from("!H", message, 2)[0] & (0x7800 | RD)
    return message[:2] + struct.pack("!5H", flags, 0, 0, 0, 0)


def query(number: int, question: Question) -> bytes:
    """What is asked of another name server in a client's stead."""
    flags = RD | (question.flags & CD)
    head = struct.pack("!6H", number, flags, 1, 0, 0, 1 if question.edns else 0)
    wish = struct.pack("!BHHIH", 0, OPT, MOST, 0x8000 if question.dnssec else 0, 0) if question.edns else b""
    return head + question.section + wish


def section(name: str, kind: int) -> bytes:
    """A question's bytes for a name of ours."""
    return plain(name) + struct.pack("!2H", kind, IN)


def plain(name: str) -> bytes:
    """A name without pointers."""
    labels = (label.encode("latin-1") for label in name.split(".") if label)
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


class _Writer:
    def __init__(self, question: Question, room: int) -> None:
        self.out = bytearray(HEADER) + question.section
        self._room = room
        self._places: dict[str, int] = {}
        # With a dot or a backslash within a label, the name that is shown does not tell where labels begin.
        if question.name and "\\" not in question.name:
            self._note(question.name, HEADER)

    def write(self, records: Iterable[Record], ttl: int) -> int:
        """As many records as fit; how many that were."""
        for count, record in enumerate(records):
            before = len(self.out)
            self._record(record, ttl)
            if len(self.out) > self._room:
                self._back(before)
                return count
        return len(tuple(records))

    def whole(self, records: tuple[Record, ...], ttl: int) -> int:
        """All records or none."""
        before = len(self.out)
        if self.write(records, ttl) == len(records):
            return len(records)
        self._back(before)
        return 0

    def _back(self, length: int) -> None:
        del self.out[length:]
        self._places = {name: at for name, at in self._places.items() if at < length}

    def _record(self, record: Record, ttl: int) -> None:
        self._name(record.name)
        self.out += struct.pack("!HHI", record.type, IN, ttl)
        length_at = len(self.out)
        self.out += b"\0\0"
        self._data(record)
        struct.pack_into("!H", self.out, length_at, len(self.out) - length_at - 2)

    def _data(self, record: Record) -> None:
        value = record.value
        if record.type == A:
            self.out += IPv4Address(value).packed
        elif record.type == AAAA:
            self.out += IPv6Address(value).packed
        elif record.type in _NAMES:
            self._name(value)
        elif record.type == TXT:
            self.out += bytes((len(value),)) + value.encode()
        elif record.type == SRV:
            priority, weight, port, target = value.split(" ")
            # RFC 2782 forbids pointers here.
            self.out += struct.pack("!3H", int(priority), int(weight), int(port)) + plain(target)
        elif record.type == SOA:
            server, mailbox, *numbers = value.split(" ")
            self._name(server)
            self._name(mailbox)
            self.out += struct.pack("!5I", *map(int, numbers))

    def _name(self, name: str) -> None:
        rest, begin, head = name, len(self.out), b""
        while rest and rest not in self._places:
            label, _, rest = rest.partition(".")
            head += bytes((len(label),)) + label.encode("latin-1")
        self.out += head
        self.out += struct.pack("!H", 0xC000 | self._places[rest]) if rest else b"\0"
        self._note(name, begin)

    def _note(self, name: str, at: int) -> None:
        while name and at < 0x3FFF and name not in self._places:
            self._places[name] = at
            label, _, name = name.partition(".")
            at += len(label) + 1
