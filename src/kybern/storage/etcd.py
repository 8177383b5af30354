"""The store in etcd, over gRPC.

Every write is a transaction on the key's mod_revision, so that two API servers never overwrite each other. A member
that does not answer is left for the next one; every call has a deadline, and asks members without a leader to say so
at once instead of waiting for one.

A write whose answer got lost is sent again: it is conditional, so it cannot happen twice. When the second try finds
the key changed and its value is ours, the first one had worked.

Watches run on a stream each (gRPC multiplexes them over one connection), so that progress can be asked of one prefix.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import etcd_pb2, etcd_pb2_grpc
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

ATTEMPT_SECONDS = 2.0
ROOT = "/registry"
_LEADER = grpc.aio.Metadata(("hasleader", "true"))
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 4_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)
# A lease serves the writes of this share of its time, at most of a minute, so that events do not need one each.
_LEASE_SHARE, _LEASE_REUSE = 0.05, 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of a TLS client; empty means none. Read again when a connection has to be made anew."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    def stamp(self) -> tuple[int, ...]:
        return tuple(Path(path).stat().st_mtime_ns for path in (self.ca, self.cert, self.key) if path)

    def channel(self) -> grpc.ChannelCredentials:
        ca, cert, key = (Path(path).read_bytes() if path else None for path in (self.ca, self.cert, self.key))
        return grpc.ssl_channel_credentials(ca, key, cert)


class _Member:
    """A connection to one member."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        scheme, _, address = endpoint.rpartition("://")
        self.endpoint = endpoint
        self.streams: set[Any] = set()
        self.channel = (
            grpc.aio.secure_channel(address, credentials.channel(), options=_OPTIONS)
            if scheme == "https"
            else grpc.aio.insecure_channel(address, options=_OPTIONS)
        )
        self.kv = etcd_pb2_grpc.KVStub(self.channel)
        self.lease = etcd_pb2_grpc.LeaseStub(self.channel)
        self.watches = etcd_pb2_grpc.WatchStub(self.channel)


@dataclass(slots=True)
class _Lease:
    number: int
    until: float


def _end(raw: bytes) -> bytes:
    """The first key after all that start with these bytes."""
    return raw[:-1] + bytes((raw[-1] + 1,))


def _stored(pair: Any) -> Stored:
    return Stored(pair.key.decode(), pair.value, pair.mod_revision, pair.create_revision)


def _expect(key: bytes, revision: int) -> Any:
    return etcd_pb2.Compare(
        result=etcd_pb2.Compare.EQUAL, target=etcd_pb2.Compare.MOD, key=key, mod_revision=revision
    )


class EtcdStore:
    """See ``store.Store``. Endpoints are URLs; the first is preferred, others are taken when it does not answer.

    ``root`` takes the place of /registry in etcd's keys, so that clusters can share an etcd.
    """

    def __init__(
        self, endpoints: Sequence[str], credentials: Credentials | None = None, root: str = ROOT
    ) -> None:
        self._credentials = credentials or Credentials()
        self._endpoints = tuple(endpoints)
        self._root = root
        self._stamp = self._credentials.stamp()
        self._members = self._connected()
        self._current = 0
        self._leases: dict[int, _Lease] = {}
        self._streams: dict[str, asyncio.Queue[Any]] = {}
        self._reads = Reads(self._read)

    def _connected(self) -> list[_Member]:
        return [_Member(endpoint, self._credentials) for endpoint in self._endpoints]

    async def close(self) -> None:
        for member in self._members:
            await member.channel.close()

    def _leave(self, member: _Member) -> None:
        """Turn to the next member, unless someone did already; take new certificates along."""
        if self._members[self._current] is not member:
            return
        self._current = (self._current + 1) % len(self._members)
        if len(self._members) > 1:
            # A member that answers no question tells of no changes either, and TCP may take long to find out.
            for call in tuple(member.streams):
                call.cancel()
        if self._credentials.stamp() != self._stamp:
            self._stamp = self._credentials.stamp()
            self._members = self._connected()

    async def _call(self, send: Callable[[_Member], Awaitable[Any]]) -> tuple[Any, bool]:
        """The answer, and whether an earlier try may have worked."""
        doubtful = False
        problem = ""
        for _ in range(max(2, len(self._members))):
            member = self._members[self._current]
            try:
                return await send(member), doubtful
            except grpc.aio.AioRpcError as error:
                problem = _explained(error)
                self._leave(member)
                doubtful = doubtful or "failed to connect" not in problem
        raise Unavailable(problem)

    async def _range(self, request: Any) -> Any:
        answer, _ = await self._call(
            lambda member: member.kv.Range(request, timeout=ATTEMPT_SECONDS, metadata=_LEADER)
        )
        return answer

    async def get(self, key: str, revision: int = 0) -> tuple[Stored | None, int]:
        if not revision:
            return await self._reads.get(self._key(key))
        answer = await self._range(etcd_pb2.RangeRequest(key=self._key(key), revision=revision))
        return (self._out(answer.kvs[0]) if answer.kvs else None), answer.header.revision

    async def _read(self, keys: tuple[bytes, ...]) -> dict[bytes, tuple[Stored | None, int]]:
        """What these keys are now, all at one revision: reads alone make a transaction as linearizable as one read."""
        ranges = [etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=key)) for key in keys]
        answer, _ = await self._txn(etcd_pb2.TxnRequest(success=ranges))
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
        request = etcd_pb2.TxnRequest(
            compare=[_expect(name, expected)],
            success=[etcd_pb2.RequestOp(request_put=etcd_pb2.PutRequest(key=name, value=value, lease=lease))],
            failure=[etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=name))],
        )
        answer, doubtful = await self._txn(request)
        if answer.succeeded:
            revision = answer.header.revision
            return Stored(key, value, revision, revision if not expected else 0)
        current = self._current_of(answer)
        if doubtful and current is not None and current.value == value and current.revision > expected:
            return current
        raise RevisionMismatch(key, current)

    async def delete(self, key: str, expected: int) -> int:
        name = self._key(key)
        request = etcd_pb2.TxnRequest(
            compare=[_expect(name, expected)],
            success=[etcd_pb2.RequestOp(request_delete_range=etcd_pb2.DeleteRangeRequest(key=name))],
            failure=[etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=name))],
        )
        answer, doubtful = await self._txn(request)
        current = self._current_of(answer) if not answer.succeeded else None
        if not answer.succeeded and not (doubtful and current is None):
            raise RevisionMismatch(key, current)
        return int(answer.header.revision)

    async def _txn(self, request: Any) -> tuple[Any, bool]:
        return await self._call(
            lambda member: member.kv.Txn(request, timeout=ATTEMPT_SECONDS, metadata=_LEADER)
        )

    def _key(self, key: str) -> bytes:
        if self._root != ROOT and key.startswith(ROOT):
            key = self._root + key[len(ROOT) :]
        return key.encode()

    def _out(self, pair: Any) -> Stored:
        found = _stored(pair)
        if self._root == ROOT or not found.key.startswith(self._root):
            return found
        return Stored(ROOT + found.key[len(self._root) :], found.value, found.revision, found.created)

    def _current_of(self, answer: Any) -> Stored | None:
        pairs = answer.responses[0].response_range.kvs
        return self._out(pairs[0]) if pairs else None

    async def _lease(self, ttl: int) -> int:
        now = time.monotonic()
        found = self._leases.get(ttl)
        if found is None or found.until <= now:
            reuse = min(ttl * _LEASE_SHARE, _LEASE_REUSE)
            request = etcd_pb2.LeaseGrantRequest(TTL=int(ttl + reuse))
            answer, _ = await self._call(
                lambda member: member.lease.LeaseGrant(request, timeout=ATTEMPT_SECONDS, metadata=_LEADER)
            )
            found = self._leases[ttl] = _Lease(answer.ID, now + reuse)
        return found.number

    async def revision(self) -> int:
        answer = await self._range(etcd_pb2.RangeRequest(key=b"\0", count_only=True))
        return int(answer.header.revision)

    async def compact(self, revision: int) -> None:
        request = etcd_pb2.CompactionRequest(revision=revision)
        try:
            await self._call(
                lambda member: member.kv.Compact(request, timeout=ATTEMPT_SECONDS, metadata=_LEADER)
            )
        except Compacted:
            return

    def request_progress(self, prefix: str) -> None:
        stream = self._streams.get(prefix)
        if stream is not None:
            stream.put_nowait(etcd_pb2.WatchRequest(progress_request=etcd_pb2.WatchProgressRequest()))

    async def watch(self, prefix: str, revision: int) -> AsyncIterator[Event | Progress]:
        member = self._members[self._current]
        asked: asyncio.Queue[Any] = asyncio.Queue()
        asked.put_nowait(
            etcd_pb2.WatchRequest(
                create_request=etcd_pb2.WatchCreateRequest(
                    key=self._key(prefix),
                    range_end=_end(self._key(prefix)),
                    start_revision=revision + 1,
                    progress_notify=True,
                )
            )
        )
        call = member.watches.Watch(_requests(asked), metadata=_LEADER)
        self._streams[prefix] = asked
        member.streams.add(call)
        try:
            async for answer in call:
                for event in self._told(answer):
                    yield event
        except grpc.aio.AioRpcError as error:
            self._leave(member)
            raise Unavailable(_explained(error)) from error
        except asyncio.CancelledError:
            # grpc tells of a stream that was ended here as if the task had been.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise Unavailable(f"{member.endpoint} was left") from None
        finally:
            member.streams.discard(call)
            if self._streams.get(prefix) is asked:
                del self._streams[prefix]
            asked.put_nowait(None)
            call.cancel()
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
        stored = self._out(event.kv)
        if event.type:
            return Event(EventType.DELETE, stored.key, None, stored.revision)
        return Event(EventType.PUT, stored.key, stored, stored.revision)


async def _requests(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (request := await queue.get()) is not None:
        yield request


def _cancelled(answer: Any) -> Exception:
    if answer.compact_revision:
        return Compacted(answer.compact_revision)
    return Unavailable(answer.cancel_reason or "the watch was cancelled")


def _explained(error: grpc.aio.AioRpcError) -> str:
    """The words for a passing problem; raises what is not one."""
    text: str = error.details() or error.code().name
    if error.code() is grpc.StatusCode.OUT_OF_RANGE and "compacted" in text:
        raise Compacted(0) from error
    if "database space exceeded" in text:
        raise Full(text) from error
    if error.code() not in _TRANSIENT:
        raise error
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "etcdserver: request timed out"
    return text if text.startswith("etcdserver:") else f"etcdserver: no answer: {text}"
