"""Events about objects, written beside the work and never in its way.

What holds: ``emit`` returns at once and never fails; the same event again raises a count instead of making another
object; one object gets at most 25 different events at once and one in five minutes after that (upstream's limits), so
that a pod that cannot start does not fill etcd. Events of one object are written one after the other, in their order; those
of several at the same time, WRITERS at most, so that a burst (a scheduler binds thousands of pods) does not pile up behind
one request after the other. While the API server does not answer, events wait for it, the same ones as one that counts
them; of more than KEPT the newest are dropped, and so is what is older than USEFUL seconds, which no server keeps longer.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from kybern.api.core_v1 import Event, EventSource, ObjectReference
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.allowance import Allowance
from kybern.client.verbs import Verbs
from kybern.client.watch import Backoff
from kybern.machinery.errors import (
    AlreadyExists,
    ApiError,
    Forbidden,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from kybern.machinery.struct import Object, replace

log = logging.getLogger(__name__)

KEPT = 20_000
WRITERS = 8
# As long as an API server keeps an event (its --event-ttl).
USEFUL = 3600.0
_KNOWN = 2048
_BURST = 25.0
_REFILL_SECONDS = 300.0
_MESSAGE_LIMIT = 1024


def reference(about: Object | ObjectReference) -> ObjectReference:
    """How an event names its object."""
    if isinstance(about, ObjectReference):
        return about
    metadata: Any = about.metadata  # type: ignore[attr-defined]  # every Object has metadata
    return ObjectReference(
        api_version=about.api_version,
        kind=about.kind,
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


def _key(about: ObjectReference) -> str:
    return about.uid or f"{about.namespace}/{about.name}"


type Same = tuple[str, ...]


def _same(event: Event) -> Same:
    """What two events have in common that are told as one, with a count."""
    about = event.involved_object
    return (
        about.namespace, about.name, about.uid, about.field_path, event.type, event.reason, event.message
    )  # fmt: skip


def _again(old: Event, new: Event) -> Event:
    """One event for two that are the same."""
    count = (old.count or 1) + (new.count or 1)
    return replace(old, count=count, last_timestamp=new.last_timestamp)


@dataclass(slots=True)
class _Bucket:
    """How many events an object may still get."""

    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(_BURST, self.tokens + (now - self.at) / _REFILL_SECONDS)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Remembered[V](OrderedDict[Any, V]):
    """A dict that forgets what was used longest ago."""

    def remember(self, key: Any, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _KNOWN:
            self.popitem(last=False)


class Recorder:
    """Writes the events of one component; its ``run`` belongs into the daemon's TaskGroup, or use ``async with``."""

    def __init__(
        self,
        client: Verbs,
        component: str,
        host: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        allowance: Allowance | None = None,
    ) -> None:
        """``allowance``: how often events may be written; None is as often as they come."""
        self._allowance = allowance
        self._allowing = asyncio.Lock()
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._clock = clock
        self._last = 0
        # By object: those that wait. An object in ``_turns`` has none under way.
        self._waiting: dict[str, dict[Same, Event]] = {}
        self._turns: deque[str] = deque()
        self._left = KEPT
        self._more = asyncio.Event()
        self._writing = 0
        # Held by the one who asks a server again that did not answer.
        self._asking = asyncio.Lock()
        self._written: _Remembered[Event] = _Remembered()
        self._buckets: _Remembered[_Bucket] = _Remembered()
        self._task: asyncio.Task[None] | None = None

    def emit(
        self,
        about: Object | ObjectReference,
        type: str,  # noqa: A002
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Say something about an object; ``type`` is Normal or Warning, ``annotations`` are those of the event."""
        named = reference(about)
        moment = self._clock()
        now = moment.replace(microsecond=0)
        event = Event(
            metadata=ObjectMeta(
                name=f"{named.name}.{self._number(moment):x}",
                namespace=named.namespace or "default",
                annotations=dict(annotations or {}),
            ),
            involved_object=named,
            reason=reason,
            message=message[:_MESSAGE_LIMIT],
            type=type,
            source=self._source,
            first_timestamp=now,
            last_timestamp=now,
            count=1,
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )
        key, same = _key(named), _same(event)
        if same in self._waiting.get(key, ()):
            self._waiting[key][same] = _again(self._waiting[key][same], event)
            return
        if not self._left:
            log.debug("dropped event %s about %s/%s", reason, named.namespace, named.name)
            return
        self._left -= 1
        if key not in self._waiting:
            self._waiting[key] = {}
            self._turns.append(key)
            self._more.set()
        self._waiting[key][same] = event

    def _number(self, moment: datetime) -> int:
        """Nanoseconds since 1970, as upstream ends an event's name; never the same twice, however coarse the clock."""
        self._last = max(self._last + 1, int(moment.timestamp() * 1e6) * 1000)
        return self._last

    async def run(self) -> None:
        """Write what is emitted, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._more.wait()
                self._more.clear()
                for _ in range(min(WRITERS - self._writing, len(self._turns))):
                    self._writing += 1
                    tasks.create_task(self._write_all())

    async def _write_all(self) -> None:
        """Object by object, until no event waits. It starts with the burst and ends with it."""
        try:
            while self._turns:
                await self._write_of(self._turns.popleft())
        finally:
            self._writing -= 1

    async def _write_of(self, key: str) -> None:
        """All events of an object; what is left when this is cancelled is for the next ``run``."""
        events = self._waiting[key]
        try:
            while events:
                await self._write_one(events.pop(next(iter(events))))
        finally:
            if events:
                self._turns.append(key)
                self._more.set()
            else:
                del self._waiting[key]

    async def _write_one(self, event: Event) -> None:
        self._left += 1
        await self._allowed()
        if not self._allows(event) or await self._answered(event):
            return
        # All others that get no answer wait for this one's turn to end.
        async with self._asking:
            backoff = Backoff()
            while not await self._answered(event):
                if (self._clock() - (event.last_timestamp or self._clock())).total_seconds() > USEFUL:
                    log.info("dropped event %s: nobody took it for an hour", event.reason)
                    return
                await backoff.wait()

    async def _answered(self, event: Event) -> bool:
        """Write one; False when there was no answer, so that it is worth another try."""
        try:
            await self._write(event)
        except (ServiceUnavailable, Timeout, TooManyRequests) as problem:
            log.debug("cannot write event %s yet: %s", event.reason, problem)
            return False
        except ApiError as problem:
            level = logging.DEBUG if isinstance(problem, Forbidden | NotFound) else logging.INFO
            log.log(level, "cannot write event %s: %s", event.reason, problem)
        return True

    def _allows(self, event: Event) -> bool:
        """Whether its object may have another event."""
        key, now = _key(event.involved_object), time.monotonic()
        bucket = self._buckets.get(key) or _Bucket(_BURST, now)
        self._buckets.remember(key, bucket)
        return bucket.take(now)

    async def _allowed(self) -> None:
        """Wait until another event may be written."""
        if self._allowance is not None:
            # Others write, too: one after another, so that what is waited for is still there.
            async with self._allowing:
                await asyncio.sleep(self._allowance.wait(time.monotonic()))
                self._allowance.take(time.monotonic())

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_problem: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write(self, event: Event) -> None:
        same = _same(event)
        old = self._written.get(same)
        if old is not None:
            sum_of = _again(old, event)
            body = {"count": sum_of.count, "lastTimestamp": event.last_timestamp}
            try:
                written = await self._client.patch_raw(
                    Event, old.metadata.namespace, old.metadata.name, body, "merge"
                )
            except NotFound:
                event = replace(event, count=sum_of.count, first_timestamp=old.first_timestamp)
            else:
                self._written.remember(same, written)
                return
        try:
            written = await self._client.create(event)
        except AlreadyExists:
            # The answer to an earlier try was lost.
            written = event
        self._written.remember(same, written)
