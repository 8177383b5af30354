"""Changes as they happen, from the cache to any number of clients.

A stream takes each change in the same step in which the cache applies it, and hands the encoded frame to the transport
at once: no task and no queue per client. All streams that want the same form of a change share its bytes. A client that
does not read is left when its transport holds more than ``MOST_UNSENT``: it will list and watch again.

While the first events are being written, which may take several steps, later changes wait in a list.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from kybern.apiserver import binary, options, problems
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import frames
from kybern.apiserver.generic import list as listing
from kybern.apiserver.generic.frames import Frames
from kybern.apiserver.negotiate import PROTOBUF, Form
from kybern.apiserver.options import ListOptions
from kybern.machinery.errors import ApiError, Timeout
from kybern.storage.cache import Cache, Expired
from kybern.storage.entry import Change, Entry
from kybern.storage.value import Unreadable

log = logging.getLogger(__name__)

MOST_UNSENT = 4 << 20
SHORTEST = 1800
_VERSION = len(b'{"metadata":{"resourceVersion":"')
_JOINED = 256 * 1024


def at_version(item: bytes, revision: int) -> bytes:
    """An item as of another revision: a removed object bears that of its removal."""
    return b"%b%d%b" % (item[:_VERSION], revision, item[item.index(b'"', _VERSION) :])


class Stream:
    """One client's watch. ``write`` takes bytes and must not wait; ``unsent`` tells how many are still on their way."""

    def __init__(self, call: Call, cache: Cache, asked: ListOptions, form: Form, include: str = "") -> None:
        self.cache = cache
        self.bookmarks = asked.bookmarks
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.write: Callable[[bytes], None] = lambda _frame: None
        self.unsent: Callable[[], int] = lambda: 0
        self.sent = 0
        self._frames = Frames(call, cache, form, include)
        # An event is no list: upstream ends such a watch at the first one, without a word.
        self._mute = form.shape == "PartialObjectMetadataList"
        self._matches = listing.matcher(asked.selection)
        self._prefix = call.kind.prefix(call.namespace)
        self._all = not asked.selection
        # What streams that take everything in one form have in common; "" for those that must look for themselves.
        shared = self._frames.shared and not asked.selection
        self._same = f"{self._prefix} {self._frames.key}" if shared else ""
        self._waiting: list[Change] | None = []
        self._since = 0

    def start(self, since: int, *, initial: bool) -> list[bytes]:
        """Frames of the beginning: all that is there, or what happened since a revision. Raises Expired."""
        self._since = since
        if not initial:
            past = self.cache.subscribe(self, since)
            return [frame for change in past if (frame := self._frame(change))]
        revision = self.cache.revision
        self.cache.subscribe(self, revision)
        self._since = revision
        return [self._frames.change("ADDED", entry, entry.item) for entry in self.chosen()]

    def chosen(self) -> list[Entry]:
        """All that is there and asked for."""
        found = self.cache.entries(self._prefix)
        return list(found) if self._all else [entry for entry in found if self._matches(entry)]

    def admit(self, frames: list[bytes]) -> list[bytes]:
        """What is sent of the beginning."""
        if self._mute and frames:
            self.end()
            return []
        return frames

    def flow(self) -> None:
        """The beginning is written: send what happened meanwhile, and everything from now on."""
        waiting, self._waiting = self._waiting or [], None
        for change in waiting:
            self.offer(change)

    def offer(self, change: Change) -> None:
        if self._waiting is not None:
            self._waiting.append(change)
            return
        if change.revision <= self._since:
            return
        frame = change.frames.get(self._same)
        if frame is None:
            try:
                frame = self._frame(change)
            except Unreadable as problem:
                # Whoever asked for this form must not stand in the way of the others.
                log.warning("Ending a watch: %s", problem)
                self.end()
                return
            if self._same:
                change.frames[self._same] = frame
        if frame:
            self._send(frame)
        self.sent = change.revision

    def _send(self, frame: bytes) -> None:
        if self.closed.done():
            return
        if self._mute or self.unsent() > MOST_UNSENT:
            self.end()
            return
        self.write(frame)

    def end(self) -> None:
        self.cache.unsubscribe(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def _wanted(self, entry: Entry | None) -> bool:
        if entry is None or not entry.key.startswith(self._prefix):
            return False
        return self._all or self._matches(entry)

    def _frame(self, change: Change) -> bytes:
        now, before = change.now, change.before
        if self._wanted(now):
            assert now is not None
            kind = "MODIFIED" if self._wanted(before) else "ADDED"
            return self._shared(change, kind, now, now.item)
        if before is not None and self._wanted(before):
            return self._shared(change, "DELETED", before, at_version(before.item, change.revision))
        return b""

    def _shared(self, change: Change, kind: str, entry: Entry, item: bytes) -> bytes:
        frames = self._frames
        if not frames.shared:
            return frames.change(kind, entry, item)
        key = (kind, frames.key)
        frame = change.frames.get(key)
        if frame is None:
            frame = change.frames[key] = frames.change(kind, entry, item)
        return frame

    def bookmark(self, *, initial: bool = False) -> bytes:
        """A frame that says up to where the client has seen everything."""
        self.sent = self.cache.revision
        return self._frames.bookmark(self.cache.revision, initial=initial)

    def mark(self) -> None:
        """Send a bookmark when there is something new to say, and the client takes them."""
        if self.bookmarks and self._waiting is None and self.cache.revision > max(self.sent, self._since):
            self._send(self.bookmark())


def seconds(asked: ListOptions) -> float:
    """How long a watch lives: as asked, else some time that spreads clients out."""
    if asked.timeout:
        return float(asked.timeout)
    return SHORTEST * (1 + random.random())  # noqa: S311  # spreads load, guards nothing


async def begin(call: Call, form: Form, include: str = "") -> tuple[Stream, list[bytes]]:
    """A stream and its first frames. A problem with the revision is a frame, too, and ends the stream."""
    asked = options.list_options(call.kind, {**call.query, "watch": "1"}, call.name)
    wanted = options.version(asked.version)
    initial = asked.initial if asked.initial is not None else wanted == 0
    try:
        cache = await _cache(call, asked, initial=initial)
    except Timeout as problem:
        # Only watches that ask for a list say so after the headers.
        if asked.initial is None:
            raise
        return _ended(Stream(call, call.engine.cache(call.kind), asked, form, include), problem, form)
    stream = Stream(call, cache, asked, form, include)
    if initial and form.media == PROTOBUF and not form.shape and call.kind.conversion is None:
        await binary.warm(cache, stream.chosen())
    since = wanted or cache.revision
    try:
        found = stream.start(since, initial=initial)
    except Expired as expired:
        return _ended(stream, problems.expired(wanted, expired.oldest), form)
    if initial and asked.bookmarks and (asked.initial or not asked.version):
        found.append(stream.bookmark(initial=True))
    return stream, stream.admit(found)


def _ended(stream: Stream, problem: ApiError, form: Form) -> tuple[Stream, list[bytes]]:
    stream.end()
    return stream, [frames.error(problem, form)]


async def _cache(call: Call, asked: ListOptions, *, initial: bool) -> Cache:
    """The cache, new enough to begin with: what is there now when the client says nothing of versions."""
    if not asked.version:
        return await listing.ready(call, "")
    return await listing.ready(call, asked.version if initial else "0")


def joined(frames: list[bytes]) -> list[bytes]:
    """The frames in parts that are worth a write each."""
    found: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for frame in frames:
        part.append(frame)
        size += len(frame)
        if size >= _JOINED:
            found.append(b"".join(part))
            part, size = [], 0
    if part:
        found.append(b"".join(part))
    return found
