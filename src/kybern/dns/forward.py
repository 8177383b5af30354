"""Names that are not the cluster's: asked of other name servers, and remembered for as long as they say.

What holds: a question that is being asked already is not asked again; a server that did not answer goes to the end of
the line; all of it takes at most TOGETHER seconds, because a resolver waits for five. A name below a stub domain is asked
of that domain's servers only. Answers that say nothing are kept as RFC 2308 has it.

Where ``stale`` allows it, an answer whose time is over is given to who asks while no server answers (RFC 8767): after
STALE_AFTER seconds, or at once when all servers have just failed. The servers are asked all the same.
"""

import asyncio
import logging
import struct
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from kybern.dns.encode import truncated
from kybern.dns.message import CD, HEADER, OPT, RD, Malformed, Question, lifetime, records_of
from kybern.dns.metrics import Counts
from kybern.dns.upstream import Server, ask

LOG = logging.getLogger(__name__)
ROUNDS = 2
TOGETHER = 4.5
ENTRIES = 10_000
STALE_AFTER = 1.0
RECHECK = 5.0  # seconds for which a server that failed is not waited for, when there is something stale
SERVFAIL, REFUSED = 2, 5


@dataclass(frozen=True, slots=True)
class Reply:
    """Another server's answer as it came. ``times`` are the places of its times to live, with their values."""

    message: bytes
    times: tuple[tuple[int, int], ...]
    came: float
    until: float

    def render(self, question: Question, limit: int, now: float) -> bytes:
        """The answer for this client: its id, its spelling of the name, and what is left of the time to live."""
        if len(self.message) > limit:
            return truncated(question)
        found, age = bytearray(self.message), int(now - self.came)
        found[:2] = struct.pack("!H", question.id)
        found[2] = found[2] & ~(RD >> 8 | 4) | (question.flags >> 8 & RD >> 8)
        found[HEADER : HEADER + len(question.section)] = question.section
        for at, ttl in self.times:
            struct.pack_into("!I", found, at, max(ttl - age, 0))
        return bytes(found)

    def left(self, now: float) -> int:
        return max(int(self.until - now), 0)


type Key = tuple[bytes, bool, bool, bool]


@dataclass(slots=True)
class Forwarder:
    """``servers`` for all names but those below a key of ``stubs``.

    ``longest`` is the most seconds anything is kept, ``stale`` for how many more it may be given while nobody answers.
    """

    servers: tuple[Server, ...]
    tasks: asyncio.TaskGroup
    counts: Counts
    stubs: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    longest: int = 300
    stale: int = 0
    _kept: OrderedDict[Key, Reply] = field(default_factory=OrderedDict)
    _asking: dict[Key, asyncio.Task[Reply | None]] = field(default_factory=dict)
    _failed: dict[Server, float] = field(default_factory=dict)

    async def resolve(self, question: Question) -> Reply | None:
        """The answer, or None when no server gives one."""
        key = (question.section.lower(), question.edns, question.dnssec, bool(question.flags & CD))
        kept = self._kept.get(key)
        found = kept is not None and kept.until > time.monotonic()
        self.counts.cached[found] += 1
        if found:
            self._kept.move_to_end(key)
            return kept
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = self.tasks.create_task(self._renew(key, question))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        old = kept if kept is not None and kept.until + self.stale > time.monotonic() else None
        # One client that goes away must not take the answer from the others.
        if old is None:
            return await asyncio.shield(asking)
        return await self._or_stale(asking, old, question.name)

    async def _or_stale(self, asking: asyncio.Task[Reply | None], old: Reply, name: str) -> Reply:
        reply = None
        try:
            async with asyncio.timeout(0 if self._is_down(name) else STALE_AFTER):
                reply = await asyncio.shield(asking)
        except TimeoutError:
            LOG.debug("an old answer is given for %s", name)
        if reply is not None and reply.message[3] & 15 not in (SERVFAIL, REFUSED):
            return reply
        self.counts.stale += 1
        return old

    def _is_down(self, name: str) -> bool:
        """Whether all servers for a name have failed just now."""
        since = time.monotonic() - RECHECK
        return all(self._failed.get(server, float("-inf")) > since for server in self._responsible(name))

    async def _renew(self, key: Key, question: Question) -> Reply | None:
        reply = await self._ask(question)
        if reply is not None and reply.until > reply.came:
            self._kept[key] = reply
            while len(self._kept) > ENTRIES:
                self._kept.popitem(last=False)
        return reply

    def __len__(self) -> int:
        return len(self._kept)

    async def _ask(self, question: Question) -> Reply | None:
        best = None
        try:
            async with asyncio.timeout(TOGETHER):
                for _ in range(ROUNDS):
                    for server in sorted(
                        self._responsible(question.name), key=lambda one: self._failed.get(one, 0.0)
                    ):
                        reply = await self._one(server, question)
                        best = reply or best
                        if reply and reply.message[3] & 15 not in (SERVFAIL, REFUSED):
                            return reply
        except TimeoutError:
            LOG.info("no name server answered %s in time", question.name)
        return best

    async def _one(self, server: Server, question: Question) -> Reply | None:
        try:
            message = await ask(server, question)
            found = records_of(message)
        except (OSError, TimeoutError, Malformed) as problem:
            LOG.info("name server %s did not answer %s: %s", server, question.name, problem or "no time")
            self._failed[server] = time.monotonic()
            return None
        self._failed.pop(server, None)
        now = time.monotonic()
        times = tuple((one.at, one.ttl) for one in found if one.kind != OPT)
        return Reply(message, times, now, now + min(lifetime(message, found), self.longest))

    def _responsible(self, name: str) -> tuple[Server, ...]:
        """The servers of the longest stub domain that the name is in, or those for all names."""
        labels = name.split(".")
        for start in range(len(labels)):
            servers = self.stubs.get(".".join(labels[start:]))
            if servers is not None:  # none at all: what is private must not be asked of others
                return servers
        return self.servers
