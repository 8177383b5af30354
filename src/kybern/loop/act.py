"""Doing what a diff asked for.

What holds: actions run in the order in which they were yielded, and the first failure ends the round, so that a later
action may rely on an earlier one. Creates that follow each other run side by side in batches of 1, 2, 4, ... (upstream's
slow start): when the first is refused, a thousand others are not tried. Deletes that follow each other run sixteen at a
time, and so do rewrites. A round ends only when its own writes are in the cache, so that the next one does not do them
again.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from kybern.api.core_v1 import Node, Pod
from kybern.client import paths
from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.client.scale import rescale
from kybern.client.verbs import JSON, PATCHES, Partial, Verbs
from kybern.loop import metrics
from kybern.loop.controller import (
    Action,
    Again,
    Call,
    Create,
    Delete,
    Emit,
    Failure,
    Measure,
    Patch,
    PatchStatus,
    Rescale,
    Rewrite,
    Send,
)
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.struct import Object

log = logging.getLogger(__name__)

_AT_ONCE = 16
# Longer than any watch needs that works; one that does not work is being mended by its own back-off.
_VISIBLE_WITHIN = 10.0


@dataclass(slots=True)
class Round:
    """What came of the actions of one round."""

    written: list[Object] = field(default_factory=list)
    deleted: list[Object] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    failure: Failure | None = None


class Actor:
    """Acts for one controller: its events bear that controller's name."""

    def __init__(self, client: Verbs, cache: Cache, recorder: Recorder) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder

    async def act(self, actions: Iterable[Action]) -> Round:
        """Do all, or as many as can be done before one fails; then wait until they show in the cache."""
        done = Round()
        for batch in batches(actions):
            failures = await asyncio.gather(*(self._try(action, done) for action in batch))
            done.failure = next((failure for failure in failures if failure is not None), None)
            if done.failure is not None:
                break
        await self._visible(done)
        return done

    async def _try(self, action: Action, done: Round) -> Failure | None:
        try:
            await self._one(action, done)
        except ApiError as problem:  # the only place that catches it: what it means is the loop's to say
            return Failure(action, problem)
        return None

    async def _one(self, action: Action, done: Round) -> None:
        match action:
            case Create(item):
                await self._create(item, done)
            case Patch(old, new):
                await self._change(old, new, "", done)
            case PatchStatus(old, new):
                await self._change(old, new, "status", done)
            case Delete():
                await self._delete(action, done)
            case Emit(about, kind, reason, message):
                self._recorder.emit(about, kind, reason, message)
            case Again() | Measure():
                _noted(action, done)
            case Call() | Rescale() | Rewrite() | Send():
                await self._ask(action)

    async def _ask(self, action: Call | Rescale | Rewrite | Send) -> None:
        if isinstance(action, Send):
            await action.errand.run()
        elif isinstance(action, Rewrite):
            await self._rewrite(action.object, action.manager)
        elif isinstance(action, Call):
            content_type = PATCHES[action.patch] if action.patch else JSON
            await self._client.request(
                action.method, action.path, action.body, timeout=30.0, content_type=content_type
            )
        else:
            await rescale(self._client, action.api_version, action.kind, action.scale, action.replicas)

    async def _change(self, old: Object, new: Object, subresource: str, done: Round) -> None:
        if old == new:
            return
        # Upstream's default roles let controllers patch these and update all others; either names the version.
        patched = isinstance(old, Pod | Node | Partial)
        change = (
            self._client.patch(old, new, subresource) if patched else self._client.update(new, subresource)
        )
        done.written.append(await change)

    async def _create(self, item: Object, done: Round) -> None:
        try:
            done.written.append(await self._client.create(item))
        except AlreadyExists:
            if not item.metadata.name:  # type: ignore[attr-defined]  # a generated name that was taken
                raise

    async def _delete(self, action: Delete, done: Round) -> None:
        try:
            await self._client.delete(
                action.object, propagation=action.propagation, grace_seconds=action.grace_seconds
            )
        except NotFound:
            log.debug("%s was gone already", action.object.kind)
        done.deleted.append(action.object)

    async def _rewrite(self, item: Object, manager: str) -> None:
        # Nothing is applied to it. With its uid nobody mistakes that for a wish to make it anew once it is gone.
        metadata = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
        said = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        body = {"apiVersion": item.api_version, "kind": item.kind, "metadata": said}
        path = paths.one(type(item), metadata.namespace, metadata.name)
        query = f"?fieldManager={quote(manager)}"
        try:
            await self._client.request(
                "PATCH", path + query, body, timeout=30.0, content_type=PATCHES["apply"]
            )
        except (Conflict, NotFound) as problem:
            log.debug("%s/%s was written by somebody else: %s", metadata.namespace, metadata.name, problem)

    async def _visible(self, done: Round) -> None:
        if not done.written and not done.deleted:
            return
        try:
            async with asyncio.timeout(_VISIBLE_WITHIN):
                for item in done.written:
                    await self._cache.until_written(item)
                for item in done.deleted:
                    await self._cache.until_deleted(item)
        except TimeoutError:
            log.warning("own writes did not show in the cache within %d s", _VISIBLE_WITHIN)


def _noted(action: Again | Measure, done: Round) -> None:
    """What nobody is asked for."""
    if isinstance(action, Again):
        done.again.append(action.seconds)
    else:
        metrics.note(action.metric, action.labels, action.value)


def batches(actions: Iterable[Action]) -> Iterator[tuple[Action, ...]]:
    """What may run side by side: runs of creates, growing, of deletes and of rewrites; anything else one by one."""
    run: list[Action] = []
    size = 1
    for action in actions:
        same = bool(run) and type(action) is type(run[0])
        if run and (not same or len(run) >= size):
            yield tuple(run)
            run = []
            size = min(size * 2, _AT_ONCE * 4) if same else 1
        if not same:
            size = _AT_ONCE if isinstance(action, Delete | Rewrite) else 1
        if isinstance(action, Create | Delete | Rewrite):
            run.append(action)
        else:
            yield (action,)
    if run:
        yield tuple(run)
