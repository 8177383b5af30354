"""From a client's bytes to the bytes of its answer: at once where we know, later where others have to be asked.

Theory of operation: ``at_once`` first looks for an answer that was given to the same bytes before (the id aside). Such
answers hold until the zone changes; those that came from other servers hold for a second, and are made anew from the
forwarder's cache after that. An answer with several addresses is kept in several orders, given in turn, because most
clients take the first.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from kybern.dns import encode, message
from kybern.dns.answer import NOTIMP, REFUSED, SERVFAIL, Answer, Settings, answer
from kybern.dns.forward import Forwarder, Reply
from kybern.dns.message import Question
from kybern.dns.metrics import Counts
from kybern.dns.records import AAAA, A, Record
from kybern.dns.zone import Zone

ENTRIES = 20_000
FORWARDED_SECONDS = 1.0
ORDERS = 8
STREAM_LIMIT = 65535
TRANSFERS = (251, 252)
_FOREVER = float("inf")


@dataclass(slots=True)
class _Kept:
    """Answers without their ids, and which one is next."""

    bodies: tuple[bytes, ...]
    until: float
    counted: tuple[str, int, int]
    next: int = 0


@dataclass(slots=True)
class Responder:
    """``complete`` tells whether the zone has all names. Without a zone all names are others'."""

    zone: Zone | None
    settings: Settings
    forwarder: Forwarder
    counts: Counts
    complete: Callable[[], bool]
    _kept: dict[str, dict[bytes, _Kept]] = field(default_factory=lambda: {"udp": {}, "tcp": {}})
    _version: int = -1

    def at_once(self, data: bytes, protocol: str) -> bytes | Question:
        """The answer (no bytes: none is due), or the question, when ``later`` has to answer it."""
        if self.zone is not None and self._version != self.zone.version:
            self.forget()
        kept = self._kept[protocol].get(data[2:])
        if kept is not None and (kept.until is _FOREVER or kept.until > time.monotonic()):
            self.counts.answered[kept.counted] += 1
            turn = kept.next
            kept.next = turn + 1 if turn + 1 < len(kept.bodies) else 0
            return data[:2] + kept.bodies[turn]
        try:
            question = message.read(data)
        except message.Malformed:
            return encode.malformed(data)
        return self._known(question, data, protocol)

    def forget(self) -> None:
        for kept in self._kept.values():
            kept.clear()
        self._version = self.zone.version if self.zone else -1

    def _known(self, question: Question, data: bytes, protocol: str) -> bytes | Question:
        if refusal := _refusal(question):
            return self._counted(refusal, question, protocol)
        if self.zone is not None and self.zone.has(question.name) and not self.complete():
            return self._counted(encode.failure(question, SERVFAIL), question, protocol)
        found = self._found(question)
        if found is None or found.chase:
            return question
        limit = _limit(question, protocol)
        bodies = [encode.render(question, one, self._ttl(found), limit) for one in _orders(found)]
        self._keep(
            data,
            protocol,
            _Kept(tuple(body[2:] for body in bodies), _FOREVER, _counted(bodies[0], question, protocol)),
        )
        return self._counted(bodies[0], question, protocol)

    def _found(self, question: Question) -> Answer | None:
        return answer(self.zone, self.settings, question.name, question.kind) if self.zone else None

    def _ttl(self, found: Answer) -> int:
        return self.settings.ttl if found.records else self.settings.negative_ttl

    async def later(self, question: Question, data: bytes, protocol: str) -> bytes:
        """The answer to what other name servers have to be asked for."""
        limit = _limit(question, protocol)
        found = self._found(question)
        if found is not None:
            return self._counted(await self._chased(question, found, limit), question, protocol)
        reply = await self.forwarder.resolve(question)
        if reply is None:
            return self._counted(encode.failure(question, SERVFAIL), question, protocol)
        now = time.monotonic()
        body = reply.render(question, limit, now)
        until = min(now + FORWARDED_SECONDS, reply.until)
        self._keep(data, protocol, _Kept((body[2:],), until, _counted(body, question, protocol)))
        return self._counted(body, question, protocol)

    async def _chased(self, question: Question, found: Answer, limit: int) -> bytes:
        """An ExternalName with the addresses of what it points at."""
        if not found.chase:
            return encode.render(question, found, self._ttl(found), limit)
        section = encode.section(found.chase, question.kind)
        outside = replace(question, name=found.chase, section=section)
        reply = await self.forwarder.resolve(outside)
        records = _records(reply)
        if reply is None or records is None:
            return encode.failure(question, SERVFAIL)
        whole = replace(found, rcode=reply.message[3] & 15, records=(*found.records, *records))
        ttl = min(self.settings.ttl, reply.left(time.monotonic())) if records else self.settings.negative_ttl
        return encode.render(question, whole, ttl, limit)

    def _keep(self, data: bytes, protocol: str, kept: _Kept) -> None:
        held = self._kept[protocol]
        if len(held) >= ENTRIES:
            held.clear()
        held[data[2:]] = kept

    def _counted(self, body: bytes, question: Question, protocol: str) -> bytes:
        self.counts.answered[_counted(body, question, protocol)] += 1
        return body


def _counted(body: bytes, question: Question, protocol: str) -> tuple[str, int, int]:
    return protocol, question.kind, body[3] & 15


def _limit(question: Question, protocol: str) -> int:
    return min(question.size, message.MOST) if protocol == "udp" else STREAM_LIMIT


def _refusal(question: Question) -> bytes:
    """For what this server does not do: other operations, classes, zone transfers, later versions of EDNS."""
    if question.opcode:
        return encode.failure(question, NOTIMP)
    if question.version:
        return encode.bad_version(question)
    if question.group not in (message.IN, 255) or question.kind in TRANSFERS:
        return encode.failure(question, REFUSED)
    return b""


def _records(reply: Reply | None) -> tuple[Record, ...] | None:
    try:
        return message.addresses_of(reply.message) if reply else None
    except message.Malformed:
        return None


def _orders(found: Answer) -> Iterable[Answer]:
    """The answer with its addresses in turn at the first place."""
    yield found
    if all(record.type in (A, AAAA) for record in found.records):
        for start in range(1, min(len(found.records), ORDERS)):
            yield replace(found, records=found.records[start:] + found.records[:start])
