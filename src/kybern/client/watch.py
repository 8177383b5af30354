"""List, then watch, for as long as someone listens: as a machine of three states.

    Listing ──ok──> Watching ──closed by the server──> Watching (from the last revision seen)
       ^  └─failed─┐    │
       └──back-off─┘    ├─ 410 Gone, Expired ──> Listing (at once)
                        └─ cut off, silent ────> Watching after back-off

What holds: the first thing that a listener sees is ``Synced`` with all objects, and it sees it once. After that it sees
every change, each with what was there before; a list that had to be made again shows as the changes between the two
lists. Nothing that a server or a network does ends the iteration. Bookmarks come about every minute, so a stream that
is silent for longer than that is dead.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from kybern.client import paths
from kybern.client.verbs import Verbs, accept, error_of, query
from kybern.machinery.errors import ApiError, Expired, Gone
from kybern.machinery.struct import Object, decoder

log = logging.getLogger(__name__)

_FIRST_DELAY = 0.1
_LAST_DELAY = 5.0
_SILENCE = 90.0


@dataclass(frozen=True, slots=True)
class Synced[T: Object]:
    """All objects at the beginning."""

    items: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Added[T: Object]:
    object: T


@dataclass(frozen=True, slots=True)
class Modified[T: Object]:
    object: T
    old: T


@dataclass(frozen=True, slots=True)
class Deleted[T: Object]:
    """``object`` is its last known state."""

    object: T


type Change[T: Object] = Added[T] | Modified[T] | Deleted[T]


class _Event(msgspec.Struct):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class _Meta(msgspec.Struct, rename="camel", frozen=True):
    resource_version: str = ""


class _Bookmark(msgspec.Struct):
    metadata: _Meta = _Meta()


_EVENTS = msgspec.json.Decoder(_Event)
_BOOKMARKS = msgspec.json.Decoder(_Bookmark)


class Backoff:
    """Delays that double from 0.1 to 5 s, each up to half shorter so that watchers do not come in step."""

    def __init__(self) -> None:
        self._next = _FIRST_DELAY

    def reset(self) -> None:
        self._next = _FIRST_DELAY

    @property
    def fresh(self) -> bool:
        """Whether nothing has failed since the last success: worth telling, the tenth time in a row is not."""
        return self._next == _FIRST_DELAY

    async def wait(self) -> None:
        delay = self._next * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing
        self._next = min(self._next * 2, _LAST_DELAY)
        await asyncio.sleep(delay)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream, however it is cut into chunks."""
    rest: list[bytes] = []
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        if whole:
            rest.append(whole[0])
            yield b"".join(rest)
            rest = []
            for line in whole[1:]:
                yield line
        if last:
            rest.append(last)


class _Watching[T: Object]:
    """What is known: the objects by key and the revision up to which they are right."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self.known: dict[tuple[str, str], T] = {}
        self.revision = ""
        self.synced = False
        self._decoder = decoder(kind)

    def relisted(self, items: Iterable[T], revision: str) -> Iterator[Change[T]]:
        """The changes from what was known to a new list."""
        fresh = {_key(item): item for item in items}
        gone = [item for key, item in self.known.items() if key not in fresh]
        before, self.known, self.revision = self.known, fresh, revision
        for item in gone:
            yield Deleted(item)
        for key, item in fresh.items():
            old = before.get(key)
            if old is None:
                yield Added(item)
            elif old.metadata.resource_version != item.metadata.resource_version:  # type: ignore[attr-defined]
                yield Modified(item, old)

    def changed(self, line: bytes) -> Change[T] | None:
        """What one line of the stream says; raises the error that it carries."""
        event = _EVENTS.decode(line)
        if event.type == "BOOKMARK":
            self.revision = _BOOKMARKS.decode(event.object).metadata.resource_version or self.revision
            return None
        if event.type == "ERROR":
            raise error_of(500, bytes(event.object))
        item = self._decoder.decode(event.object)
        self.revision = item.metadata.resource_version or self.revision  # type: ignore[attr-defined]
        key = _key(item)
        old = self.known.get(key)
        if event.type == "DELETED":
            self.known.pop(key, None)
            return Deleted(item) if old is not None else None
        self.known[key] = item
        return Added(item) if old is None else Modified(item, old)


def _key(item: Object) -> tuple[str, str]:
    metadata: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
    return metadata.namespace, metadata.name


async def _stream[T: Object](
    client: Verbs, state: _Watching[T], where: tuple[str, str, str]
) -> AsyncIterator[Change[T] | None]:
    """One watch request: a change, or None for a line without one."""
    namespace, field_selector, label_selector = where
    asked = query(
        watch=True,
        resourceVersion=state.revision,
        allowWatchBookmarks=True,
        timeoutSeconds=random.randint(300, 600),  # noqa: S311  # so that not all watches end together
        labelSelector=label_selector,
        fieldSelector=field_selector,
    )
    path = paths.collection(state.kind, namespace) + asked
    async with client.stream(path, accept=accept(state.kind), silence=_SILENCE) as chunks:
        async for line in lines(chunks):
            yield state.changed(line) if line else None


async def _round[T: Object](
    client: Verbs, state: _Watching[T], where: tuple[str, str, str], backoff: Backoff
) -> AsyncIterator[Synced[T] | Change[T]]:
    """From where the state is until the stream ends."""
    namespace, field_selector, label_selector = where
    if not state.revision:
        items, revision = await client.list(state.kind, namespace, label_selector, field_selector)
        changes = tuple(state.relisted(items, revision))
        if not state.synced:
            state.synced = True
            yield Synced(tuple(state.known.values()))
        else:
            for change in changes:
                yield change
    async for found in _stream(client, state, where):
        backoff.reset()
        if found is not None:
            yield found


async def watch[T: Object](
    client: Verbs, kind: type[T], namespace: str = "", field_selector: str = "", label_selector: str = ""
) -> AsyncIterator[Synced[T] | Change[T]]:
    """All objects of a kind that match, and then their changes, for ever."""
    state = _Watching(kind)
    backoff = Backoff()
    where = (namespace, field_selector, label_selector)
    while True:
        try:
            async for change in _round(client, state, where, backoff):
                yield change
        except (Gone, Expired) as problem:
            log.info("Listing %s again: %s", kind.plural, problem)
            state.revision = ""
        except msgspec.DecodeError as problem:
            log.warning("cannot read what the watch of %s sent: %s", kind.plural, problem)
            state.revision = ""
        except ApiError as problem:
            log.log(
                logging.WARNING if backoff.fresh else logging.DEBUG,
                "cannot watch %s: %s",
                kind.plural,
                problem,
            )
        # Also after an ordinary end: a server that closes at once, again and again, must not be asked without a pause.
        await backoff.wait()
