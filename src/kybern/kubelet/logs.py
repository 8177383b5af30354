"""Reading the logs of containers, from files that the runtime writes and rotates while they are read.

What holds: reading follows a container to its end and no further; a rotation in between loses nothing (the rest of the old
file is read before the new one); a line that is only half written is waited for; who asks for the last lines without
following gets no more of them than that, however fast the container writes meanwhile.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from kybern.kubelet.logline import fixed, moment, parse

_BLOCK = 64 * 1024
_POLL = 0.25


class BadOptions(ValueError):
    """A query that cannot be understood; the message is shown."""


@dataclass(frozen=True, slots=True)
class Options:
    """Upstream's PodLogOptions."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: datetime | None = None
    limit: int | None = None
    valid: bool = True
    """Whether numbers are in their ranges, and nothing is said twice (upstream: ValidatePodLogOptions)."""


def options_of(query: Mapping[str, str], now: datetime) -> Options:
    """Of the query of a request; raises BadOptions for what cannot be read at all."""
    since = None
    seconds, tail, limit = (_number(query, name) for name in ("sinceSeconds", "tailLines", "limitBytes"))
    valid = (
        (tail is None or tail >= 0)
        and (limit is None or limit >= 1)
        and (seconds is None or seconds >= 1)
        and not (seconds is not None and query.get("sinceTime"))
        # PodLogsQuerySplitStreams is alpha, and off.
        and "stream" not in query
    )
    if seconds is not None:
        since = now - timedelta(seconds=seconds)
    elif query.get("sinceTime"):
        since = moment(query["sinceTime"].encode())
        if since is None:
            raise BadOptions(f'invalid sinceTime "{query["sinceTime"]}"')
    return Options(
        follow=_truth(query, "follow"),
        previous=_truth(query, "previous"),
        timestamps=_truth(query, "timestamps"),
        tail=tail,
        since=since,
        limit=limit,
        valid=valid,
    )


def _truth(query: Mapping[str, str], name: str) -> bool:
    """Only "0" and "false" are no, when something is said at all (upstream: Convert_Slice_string_To_bool)."""
    return name in query and query[name].lower() not in ("0", "false")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.removeprefix("-").isdigit():
        raise BadOptions(f'invalid {name} "{text}"')
    return int(text)


def start_of_tail(file: BinaryIO, lines: int) -> int:
    """Where the last so many lines begin."""
    end = file.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    position, seen = end, 0
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        if position + size == end and block.endswith(b"\n"):
            block = block[:-1]
        found = block.count(b"\n")
        if seen + found >= lines:
            at = len(block)
            for _line in range(lines - seen):
                at = block.rfind(b"\n", 0, at)
            return position + at + 1
        seen += found
    return 0


class _Cutter:
    """From lines of a file to what is sent, until the limit is reached."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._left = options.limit
        self._since = options.since
        self._whole = True

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def cut(self, line: bytes) -> bytes:
        entry = parse(line)
        if entry is None:
            return b""
        if self._since is not None:
            when = moment(entry.time)
            if when is not None and when < self._since:
                return b""
            # Lines are in order: what comes after is new enough, too.
            self._since = None
        content = entry.content
        if self._options.timestamps and self._whole:
            content = fixed(entry.time) + b" " + content
        self._whole = content.endswith(b"\n")
        if self._left is not None:
            content = content[: self._left]
            self._left -= len(content)
        return content


class _Lines:
    """The whole lines of a file that grows and may be replaced."""

    def __init__(self, path: Path, tail: int | None) -> None:
        self._path = path
        self._file: BinaryIO = path.open("rb")
        self._rest = b""
        if tail is not None:
            self._file.seek(start_of_tail(self._file, tail))

    def next(self) -> list[bytes]:
        """What there is now, at most a block of it."""
        parts = (self._rest + self._file.read(_BLOCK)).split(b"\n")
        self._rest = parts.pop()
        return [part + b"\n" for part in parts]

    @property
    def at_end(self) -> bool:
        return self._file.tell() >= os.fstat(self._file.fileno()).st_size

    def renewed(self) -> bool:
        """Go on with the new file, if another one has the name now."""
        try:
            if self._path.stat().st_ino == os.fstat(self._file.fileno()).st_ino:
                return False
            fresh = self._path.open("rb")
        except FileNotFoundError:
            return False
        self._file.close()
        self._file, self._rest = fresh, b""
        return True

    def close(self) -> None:
        self._file.close()


async def read(path: Path, options: Options, running: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """What a log says. With ``follow`` it goes on until ``running`` says no and the file is at its end."""
    cutter = _Cutter(options)
    lines = await asyncio.to_thread(_Lines, path, options.tail)
    left = None if options.follow else options.tail
    try:
        while not cutter.full and left != 0:
            # Asked before reading: what is written until the end is still read.
            alive = options.follow and await running()
            found = lines.next()[:left]
            left = None if left is None else left - len(found)
            sent = b"".join(map(cutter.cut, found))
            if sent:
                yield sent
            if not lines.at_end or (options.follow and lines.renewed()):
                continue
            if not alive:
                return
            await asyncio.sleep(_POLL)
    finally:
        lines.close()


def now() -> datetime:
    return datetime.now(UTC)
