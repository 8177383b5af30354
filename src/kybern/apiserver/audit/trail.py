"""What one request leaves in the audit log: an event at each stage that the policy wants told.

A request has a Record from the time at which it is known who asks. Stages are upstream's: RequestReceived before anything
is decided, ResponseStarted when the answer of a request that lasts (a watch, exec) begins, ResponseComplete at the end.
Where the policy wants nothing of a request, there is no Record, and nothing is done.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, override

import msgspec
from aiohttp import web

from kybern.apiserver import body, metrics
from kybern.apiserver.answer import Answer, Plain
from kybern.apiserver.audit import events
from kybern.apiserver.audit.begun import listen
from kybern.apiserver.audit.events import Event
from kybern.apiserver.audit.policy import VERSION, Level, Policy, Telling
from kybern.apiserver.engine import Call
from kybern.apiserver.received import Sent
from kybern.apiserver.render import plain
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.user import User
from kybern.machinery.errors import ApiError, InternalError
from kybern.machinery.kind import Raw

KEY = "audit"
ID = "Audit-Id"
LASTING = ("attach", "exec", "log", "portforward", "proxy")
_NOBODY = User("")
_DECISION, _REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"


class Sink(Protocol):
    """Takes events, each a line of JSON. ``write`` tells whether it is kept; it does not raise."""

    def write(self, line: bytes) -> bool: ...


class Behind(Protocol):
    """What a sink needs to run, and to be let go of."""

    async def run(self, tasks: asyncio.TaskGroup) -> None: ...

    async def close(self) -> None: ...


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Named(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


_NAMED = msgspec.json.Decoder(_Named)


class Kept(Sent):
    """A body that can be looked at again."""

    data = b""

    async def read(self) -> bytes:
        self.data = await super().read()
        return self.data


@dataclass(slots=True)
class Record:
    """A request that is told. ``call`` and ``answer`` are there once it has come so far."""

    telling: Telling
    event: Event
    received: float
    sent: Kept | None = None
    call: Call | None = None
    answer: Answer | None = None
    refusal: Raw | None = None
    annotations: dict[str, str] = field(default_factory=dict)


def of(request: web.BaseRequest) -> Record | None:
    found: Record | None = request.get(KEY)
    return found


def _lasts(asked: Attributes) -> bool:
    """Requests whose answer goes on: their beginning is told, too."""
    return asked.verb in ("watch", "proxy") or asked.subresource in LASTING


class Untold:
    """Tells nobody: what a server without an audit policy does at each of the points where it might."""

    def begin(self, request: web.BaseRequest, asked: Attributes) -> None:
        """Who asks is known, and nothing is decided yet. Raises InternalError when it must be told and cannot be."""

    def unknown(self, request: web.BaseRequest, asked: Attributes, problem: ApiError) -> None:
        """Nobody knows who asks: the request is refused."""

    def judged(self, request: web.BaseRequest, asked: Attributes, decision: Decision) -> None:
        """The authorizers have decided, about who asks or whom he acts for."""

    def about(self, request: web.BaseRequest, call: Call) -> None:
        """The request is for objects of a kind."""

    def sent(self, request: web.BaseRequest) -> Sent:
        """How its body is read."""
        return Sent(request)

    def answered(self, request: web.BaseRequest, answer: Answer) -> None:
        """What the verb gave."""

    def refused(self, request: web.BaseRequest, status: Raw) -> None:
        """The request ends with an error."""

    def complete(self, request: web.BaseRequest, code: int) -> None:
        """The answer is there, or a lasting one has ended."""

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Start what sends in the background."""

    async def close(self) -> None:
        """Send what is left, and let go of files and connections."""


@dataclass(slots=True)
class Trail(Untold):
    """Tells the sinks about requests. ``strict``: a request that cannot be told is not answered.

    ``behind`` are what the sinks need to run.
    """

    policy: Policy
    sinks: tuple[Sink, ...]
    strict: bool = False
    behind: tuple[Behind, ...] = ()
    clock: Callable[[], float] = time.time

    @override
    async def run(self, tasks: asyncio.TaskGroup) -> None:
        for each in self.behind:
            await each.run(tasks)

    @override
    async def close(self) -> None:
        for each in self.behind:
            await each.close()

    @override
    def begin(self, request: web.BaseRequest, asked: Attributes) -> None:
        """Who asks is known, and nothing is decided yet. Raises InternalError when it must be told and cannot be."""
        telling = self.policy.tell(asked)
        metrics.audited[telling.level].inc()
        if telling.level is Level.None_:
            return
        record = self._record(request, asked, telling)
        request[KEY] = record
        if _lasts(asked):
            listen(request, partial(self._started, record))
        if not self._tell(record, "RequestReceived", record.received) and self.strict:
            metrics.audit_rejected.inc()
            raise InternalError("Internal error occurred: failed to store audit event")

    @override
    def unknown(self, request: web.BaseRequest, asked: Attributes, problem: ApiError) -> None:
        """Nobody knows who asks: it is told as soon as it is refused."""
        asked = asked._replace(user=_NOBODY)
        telling = self.policy.tell(asked)
        if telling.level is Level.None_:
            return
        record = self._record(request, asked, telling)
        record.event.response_status = events.status(problem.status())
        self._tell(record, "ResponseStarted", self.clock())

    @override
    def judged(self, request: web.BaseRequest, asked: Attributes, decision: Decision) -> None:
        """The authorizers have decided, about who asks or whom he acts for."""
        if (record := of(request)) is None:
            return
        allowed = decision.verdict is Verdict.ALLOW
        record.annotations[_DECISION] = "allow" if allowed else "forbid"
        record.annotations[_REASON] = decision.reason
        acting = events.who(asked.user)
        if acting != record.event.user:
            record.event.impersonated_user = acting

    @override
    def about(self, request: web.BaseRequest, call: Call) -> None:
        if (record := of(request)) is not None:
            record.call = call

    @override
    def sent(self, request: web.BaseRequest) -> Sent:
        if (record := of(request)) is None:
            return Sent(request)
        record.sent = Kept(request)
        return record.sent

    @override
    def answered(self, request: web.BaseRequest, answer: Answer) -> None:
        if (record := of(request)) is not None:
            record.answer = answer

    @override
    def refused(self, request: web.BaseRequest, status: Raw) -> None:
        if (record := of(request)) is not None:
            record.refusal = events.status(status)

    def _started(self, record: Record, code: int) -> None:
        """The answer of a request that lasts begins."""
        record.event.response_status = {"metadata": {}, "code": code}
        self._describe(record)
        self._tell(record, "ResponseStarted", self.clock())

    @override
    def complete(self, request: web.BaseRequest, code: int) -> None:
        if (record := of(request)) is None:
            return
        record.event.response_status = {"metadata": {}, **(record.refusal or {}), "code": code}
        self._describe(record)
        if record.telling.level is Level.RequestResponse and record.answer is not None:
            record.event.response_object = self._shown(record, plain(record.answer))
        self._tell(record, "ResponseComplete", self.clock())

    def _record(self, request: web.BaseRequest, asked: Attributes, telling: Telling) -> Record:
        now = self.clock()
        given = request.headers.get(ID, "")
        event = Event(
            "Event",
            VERSION,
            telling.level.wire,
            given or str(uuid.uuid4()),
            request_uri=request.raw_path,
            verb=asked.verb,
            user=events.who(asked.user),
            source_ips=events.sources(request.headers, request.remote or ""),
            user_agent=events.agent(request.headers.get("User-Agent", "")),
            object_ref=events.reference(asked),
            request_received_timestamp=events.moment(now),
        )
        return Record(telling, event, now)

    def _describe(self, record: Record) -> None:
        """What only became known on the way: the object's names, what was sent, what admission has noted."""
        call, sent = record.call, record.sent
        if call is not None:
            record.annotations |= call.annotations
            if record.event.object_ref is not None and not record.event.object_ref.name and not call.unnamed:
                record.event.object_ref.name = call.name
        if isinstance(record.answer, Plain) and record.answer.raw.get("kind") == "Status":
            record.event.response_status = events.status({"code": record.answer.code, **record.answer.raw})
        if sent is None or not sent.data:
            return
        media = body.media_type(sent.content_type)
        if media == body.JSON and (ref := record.event.object_ref) is not None:
            try:
                meta = _NAMED.decode(sent.data).metadata
            except msgspec.MsgspecError:
                meta = _Meta()
            ref.namespace = ref.namespace or meta.namespace
            ref.name = ref.name or meta.name
            ref.uid, ref.resource_version = meta.uid, meta.resource_version
        if record.telling.level >= Level.Request:
            record.event.request_object = self._request_object(record, sent)

    def _request_object(self, record: Record, sent: Kept) -> Any:
        """What was sent, as JSON. A body that cannot be read has been refused, and is left out."""
        try:
            found, _ = body.parse(sent.data, body.JSON if "json" in sent.content_type else sent.content_type)
        except ApiError:
            return None
        return found if record.telling.managed_fields else events.unmanaged(found)

    def _shown(self, record: Record, answer: bytes) -> Any:
        if record.telling.managed_fields:
            return msgspec.Raw(answer)
        return events.unmanaged(msgspec.json.decode(answer))

    def _tell(self, record: Record, stage: str, when: float) -> bool:
        if stage in record.telling.omitted:
            return True
        event = record.event
        event.stage, event.stage_timestamp = stage, events.moment(when)
        event.annotations = record.annotations
        line = msgspec.json.encode(event) + b"\n"
        metrics.audit_events.inc()
        kept = [sink.write(line) for sink in self.sinks]
        return all(kept)
