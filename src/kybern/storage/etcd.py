"""The store in etcd, over gRPC.

Every write is a transaction on the key's mod_revision, so that two API servers never overwrite each other. A member
that does not answer is left for the next one; every call has a deadline, and asks members without a leader to say so
at once instead of waiting for one.

A write whose answer got lost is sent again: it is conditional, so it cannot happen twice. When the second try finds
the key changed and its value is ours, the first one had worked.

Watches run on a stream each (HTTP/2 multiplexes them over one connection), so that progress can be asked of one prefix.
"""

import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kybern._proto import etcd_pb2
from kybern.storage import requests
from kybern.storage.encryption.values import Values
from kybern.storage.http2 import failed
from kybern.storage.http2.failed import Failed
from kybern.storage.http2.link import Stream
from kybern.storage.member import COMPACT, GRANT, RANGE, STATUS, TXN, WATCH, Credentials, Member
from kybern.storage.reads import Reads
from kybern.storage.store import (
    Compacted,
    Event,
    EventType,
    Full,
    Page,
    Progress,
    RevisionMismatch,
    Stored,
    Unavailable,
)

log = logging.getLogger(__name__)

ROOT = "/registry"
_TRANSIENT = (
    failed.UNAVAILABLE,
    failed.DEADLINE_EXCEEDED,
    failed.CANCELLED,
    failed.UNKNOWN,
    failed.INTERNAL,
)
# A lease serves the writes of this share of its time, at most of a minute, so that events do not need one each.
_LEASE_SHARE, _LEASE_REUSE = 0.05, 60.0


@dataclass(slots=True)
class _Lease:
    number: int
    until: float


def _end(raw: bytes) -> bytes:
    """The first key after all that start with these bytes."""
    return raw[:-1] + bytes((raw[-1] + 1,))


class EtcdStore:
    """See ``store.Store``. Endpoints are URLs; the first is preferred, others are taken when it does not answer.

    ``root`` takes the place of /registry in etcd's keys, so that clusters can share an etcd. ``values`` encrypts at rest.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        credentials: Credentials | None = None,
        root: str = ROOT,
        values: Values | None = None,
    ) -> None:
        self._values = values
        self._members = [Member(endpoint, credentials or Credentials()) for endpoint in endpoints]
        self._root = root
        self._current = 0
        self._leases: dict[int, _Lease] = {}
        self._streams: dict[str, set[Stream]] = {}
        self._reads = Reads(self._read)

    async def close(self) -> None:
        for member in self._members:
            await member.channel.close()

    def _leave(self, member: Member) -> None:
        """Turn to the next member, unless someone did already."""
        if self._members[self._current] is not member:
            return
        self._current = (self._current + 1) % len(self._members)
        if len(self._members) > 1:
            # A member that answers no question tells of no changes either, and TCP may take long to find out.
            for stream in tuple(member.streams):
                stream.cancel(f"{member.channel.url} was left")

    async def _call(self, call: str, request: bytes) -> tuple[bytes, bool]:
        """The answer, and whether an earlier try may have worked."""
        doubtful = False
        problem = ""
        for _ in range(max(2, len(self._members))):
            member = self._members[self._current]
            try:
                return await member.ask(call, request), doubtful
            except Failed as error:
                problem = _explained(error)
                self._leave(member)
                doubtful = doubtful or not error.untouched
        raise Unavailable(problem)

    async def _range(self, request: Any) -> Any:
        answer, _ = await self._call(RANGE, request.SerializeToString())
        found = etcd_pb2.RangeResponse.FromString(answer)
        if self._values is not None and self._values.asks:
            await self._learn(found.kvs)
        return found

    async def _learn(self, pairs: Iterable[Any]) -> None:
        """Have the keys of values told that a key management service keeps. Raises Unavailable."""
        assert self._values is not None  # only who has some asks
        await self._values.learn((pair.key, pair.value) for pair in pairs)

    async def get(self, key: str, revision: int = 0) -> tuple[Stored | None, int]:
        if not revision:
            return await self._reads.get(self._key(key))
        answer = await self._range(etcd_pb2.RangeRequest(key=self._key(key), revision=revision))
        return (self._out(answer.kvs[0]) if answer.kvs else None), answer.header.revision

    async def _read(self, keys: tuple[bytes, ...]) -> dict[bytes, tuple[Stored | None, int]]:
        """What these keys are now, all at one revision: reads alone make a transaction as linearizable as one read."""
        answer, _ = await self._txn(requests.read(keys))
        revision = int(answer.header.revision)
        found = {}
        for key, response in zip(keys, answer.responses, strict=True):
            pairs = response.response_range.kvs
            found[key] = (self._out(pairs[0]) if pairs else None), revision
        return found

    async def range(self, prefix: str, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        answer = await self._range(
            etcd_pb2.RangeRequest(
                key=self._key(start or prefix),
                range_end=_end(self._key(prefix)),
                limit=limit,
                revision=revision,
            )
        )
        items = tuple(self._out(pair) for pair in answer.kvs)
        return Page(items, revision or answer.header.revision, answer.more, answer.count - len(items))

    async def put(self, key: str, value: bytes, expected: int, ttl: int = 0) -> Stored:
        name = self._key(key)
        lease = await self._lease(ttl) if ttl else 0
        kept = value if self._values is None else self._values.written(name, value)
        answer, doubtful = await self._txn(requests.put(name, kept, expected, lease))
        if answer.succeeded:
            revision = answer.header.revision
            return Stored(key, value, revision, revision if not expected else 0)
        current = self._current_of(answer)
        if doubtful and current is not None and current.value == value and current.revision > expected:
            return current
        raise RevisionMismatch(key, current)

    async def delete(self, key: str, expected: int) -> int:
        name = self._key(key)
        answer, doubtful = await self._txn(requests.delete(name, expected))
        current = self._current_of(answer) if not answer.succeeded else None
        if not answer.succeeded and not (doubtful and current is None):
            raise RevisionMismatch(key, current)
        return int(answer.header.revision)

    async def _txn(self, request: bytes) -> tuple[Any, bool]:
        answer, doubtful = await self._call(TXN, request)
        found = etcd_pb2.TxnResponse.FromString(answer)
        if self._values is not None and self._values.asks:
            await self._learn(pair for response in found.responses for pair in response.response_range.kvs)
        return found, doubtful

    def _key(self, key: str) -> bytes:
        if self._root != ROOT and key.startswith(ROOT):
            key = self._root + key[len(ROOT) :]
        return key.encode()

    def _name(self, raw: bytes) -> str:
        key = raw.decode()
        if self._root != ROOT and key.startswith(self._root):
            key = ROOT + key[len(self._root) :]
        return key

    def _out(self, pair: Any) -> Stored:
        key = self._name(pair.key)
        if self._values is None:
            return Stored(key, pair.value, pair.mod_revision, pair.create_revision)
        value, stale = self._values.read(pair.key, pair.value)
        return Stored(key, value, pair.mod_revision, pair.create_revision, stale)

    def _current_of(self, answer: Any) -> Stored | None:
        pairs = answer.responses[0].response_range.kvs
        return self._out(pairs[0]) if pairs else None

    async def _lease(self, ttl: int) -> int:
        now = time.monotonic()
        found = self._leases.get(ttl)
        if found is None or found.until <= now:
            reuse = min(ttl * _LEASE_SHARE, _LEASE_REUSE)
            request = etcd_pb2.LeaseGrantRequest(TTL=int(ttl + reuse))
            granted, _ = await self._call(GRANT, request.SerializeToString())
            answer = etcd_pb2.LeaseGrantResponse.FromString(granted)
            found = self._leases[ttl] = _Lease(answer.ID, now + reuse)
        return found.number

    async def revision(self) -> int:
        answer = await self._range(etcd_pb2.RangeRequest(key=b"\0", count_only=True))
        return int(answer.header.revision)

    async def size(self) -> int:
        """Bytes that the member which is asked has taken of its disk for the database. Raises Unavailable."""
        answer, _ = await self._call(STATUS, etcd_pb2.StatusRequest().SerializeToString())
        return int(etcd_pb2.StatusResponse.FromString(answer).dbSize)

    async def compact(self, revision: int) -> None:
        request = etcd_pb2.CompactionRequest(revision=revision)
        try:
            await self._call(COMPACT, request.SerializeToString())
        except Compacted:
            return

    def request_progress(self, prefix: str) -> None:
        request = etcd_pb2.WatchRequest(progress_request=etcd_pb2.WatchProgressRequest())
        for stream in self._streams.get(prefix, ()):
            stream.send(request.SerializeToString())

    async def watch(self, prefix: str, revision: int) -> AsyncIterator[Event | Progress]:
        member = self._members[self._current]
        request = etcd_pb2.WatchRequest(
            create_request=etcd_pb2.WatchCreateRequest(
                key=self._key(prefix),
                range_end=_end(self._key(prefix)),
                start_revision=revision + 1,
                progress_notify=True,
            )
        )
        stream: Stream | None = None
        try:
            link = member.channel.link or await member.channel.connected()
            stream = Stream(link, member.heads[WATCH], request.SerializeToString())
            self._streams.setdefault(prefix, set()).add(stream)
            member.streams.add(stream)
            async for answer in stream:
                found = etcd_pb2.WatchResponse.FromString(answer)
                if self._values is not None and self._values.asks:
                    await self._learn(event.kv for event in found.events)
                for event in self._told(found):
                    yield event
        except Failed as error:
            self._leave(member)
            raise Unavailable(_explained(error)) from error
        finally:
            if stream is not None:
                member.streams.discard(stream)
                self._streams[prefix].discard(stream)
                if not self._streams[prefix]:
                    del self._streams[prefix]
                stream.cancel("nobody watches any more")
        self._leave(member)
        raise Unavailable("the watch ended")

    def _told(self, answer: Any) -> Iterator[Event | Progress]:
        if answer.canceled:
            raise _cancelled(answer)
        for event in answer.events:
            yield self._event(event)
        if not answer.events and not answer.created:
            yield Progress(answer.header.revision)

    def _event(self, event: Any) -> Event:
        if event.type:
            return Event(EventType.DELETE, self._name(event.kv.key), None, event.kv.mod_revision)
        stored = self._out(event.kv)
        return Event(EventType.PUT, stored.key, stored, stored.revision)


def _cancelled(answer: Any) -> Exception:
    if answer.compact_revision:
        return Compacted(answer.compact_revision)
    return Unavailable(answer.cancel_reason or "the watch was cancelled")


def _explained(error: Failed) -> str:
    """The words for a passing problem; raises what is not one."""
    if error.status == failed.OUT_OF_RANGE and "compacted" in error.text:
        raise Compacted(0) from error
    if "database space exceeded" in error.text:
        raise Full(error.text) from error
    if error.status not in _TRANSIENT:
        raise error
    if error.status == failed.DEADLINE_EXCEEDED:
        return "etcdserver: request timed out"
    return error.text if error.text.startswith("etcdserver:") else f"etcdserver: no answer: {error.text}"
