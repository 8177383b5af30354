"""Requests to the cloud about volumes, as the loop runs them, and what is remembered of their answers.

A memory is one process's: what it has forgotten is asked for again, which changes nothing (see ``provider``).
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kybern.cloud.errands import done
from kybern.cloud.provider import BlockVolume, Impossible, InUse, NoRoom, Snapshot, Volumes

_CHANGE = 120.0  # seconds
_COPY = 3600.0


@dataclass(frozen=True, slots=True)
class Refused:
    """What the cloud will not do however often it is asked, and CSI's code for that."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Attached:
    """What the cloud told of an attachment, when, and of which start of the machine."""

    told: Mapping[str, str]
    at: datetime
    boot: str


@dataclass(slots=True)
class Memory:
    """By the name of a new volume, an attachment's name and uid, a claim's uid with its size, a content's name."""

    made: dict[str, BlockVolume | Refused] = field(default_factory=dict)
    attached: dict[tuple[str, str], Attached] = field(default_factory=dict)
    grown: dict[tuple[str, int], int | Refused] = field(default_factory=dict)
    taken: dict[str, Snapshot | Refused] = field(default_factory=dict)


async def _answer[T](request: Awaitable[T], seconds: float) -> T | Refused:
    """What came of it; what is refused for good is an answer, too. Raises ServiceUnavailable."""
    return await done(_refusable(request), seconds)


async def _refusable[T](request: Awaitable[T]) -> T | Refused:
    try:
        return await request
    except NoRoom as problem:
        return Refused("ResourceExhausted", str(problem))
    except Impossible as problem:
        return Refused("InvalidArgument", str(problem))
    except InUse as problem:
        return Refused("FailedPrecondition", str(problem))


@dataclass(frozen=True, slots=True)
class Room:
    """``parameters`` as pairs, since a question must be hashable."""

    volumes: Volumes
    parameters: tuple[tuple[str, str], ...]

    async def run(self) -> Mapping[str, int] | Refused:
        return await _answer(self.volumes.room(dict(self.parameters)), _CHANGE)


@dataclass(frozen=True, slots=True)
class Make:
    volumes: Volumes
    name: str
    size: int
    zone: str
    parameters: tuple[tuple[str, str], ...]
    source: str = ""
    memory: Memory = field(default_factory=Memory, compare=False)

    async def run(self) -> None:
        making = self.volumes.create(self.name, self.size, self.zone, dict(self.parameters), self.source)
        self.memory.made[self.name] = await _answer(making, _COPY if self.source else _CHANGE)


@dataclass(frozen=True, slots=True)
class Remove:
    volumes: Volumes
    handle: str

    async def run(self) -> None:
        await done(self.volumes.delete(self.handle), _CHANGE)


@dataclass(frozen=True, slots=True)
class Attach:
    """``key``: the attachment's name and uid; ``boot``: which start of the node's machine is meant."""

    volumes: Volumes
    handle: str
    node: str
    provider_id: str
    key: tuple[str, str]
    now: datetime
    boot: str
    memory: Memory = field(default_factory=Memory, compare=False)

    async def run(self) -> None:
        told = await done(self.volumes.attach(self.handle, self.node, self.provider_id), _CHANGE)
        self.memory.attached[self.key] = Attached(told, self.now, self.boot)


@dataclass(frozen=True, slots=True)
class Detach:
    volumes: Volumes
    handle: str
    node: str
    provider_id: str

    async def run(self) -> None:
        await done(self.volumes.detach(self.handle, self.node, self.provider_id), _CHANGE)


@dataclass(frozen=True, slots=True)
class Expand:
    volumes: Volumes
    handle: str
    size: int
    claim: str
    memory: Memory = field(default_factory=Memory, compare=False)

    async def run(self) -> None:
        growing = self.volumes.expand(self.handle, self.size)
        self.memory.grown[self.claim, self.size] = await _answer(growing, _CHANGE)


@dataclass(frozen=True, slots=True)
class Take:
    """``content``: the name of the object that it is for."""

    volumes: Volumes
    handle: str
    name: str
    content: str
    memory: Memory = field(default_factory=Memory, compare=False)

    async def run(self) -> None:
        taking = self.volumes.snapshot(self.handle, self.name)
        self.memory.taken[self.content] = await _answer(taking, _COPY)


@dataclass(frozen=True, slots=True)
class Forget:
    """A snapshot, or what an attempt to take one of ``volume`` by that name has left."""

    volumes: Volumes
    handle: str
    volume: str
    name: str

    async def run(self) -> None:
        if self.handle:
            await done(self.volumes.delete_snapshot(self.handle), _CHANGE)
        else:
            await done(self.volumes.abandon_snapshot(self.volume, self.name), _CHANGE)
