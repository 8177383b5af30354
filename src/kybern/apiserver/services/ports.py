"""Node ports, each given to one Service.

Which are taken is one bitmap in the store (upstream's RangeAllocation), changed by conditional writes only: two API
servers that take at the same moment meet there, and one tries again.
"""

import asyncio
import base64
import random
from collections.abc import Callable, Iterable

from kybern.machinery.kind import Kind, Raw
from kybern.storage.store import RevisionMismatch, Store, Unavailable
from kybern.storage.value import Form

KEY = "/registry/ranges/servicenodeports"
_FORM = Form(
    Kind("", "v1", "RangeAllocation", "rangeallocations", namespaced=False, schema="", storage="ranges")
)
# Seconds; each collision means that another server got its port, so waiting ends.
_PATIENCE = 20.0


class Exhausted(Exception):
    """No port of the range is free."""


class Taken(Exception):
    """A port has an owner already; ``at`` is its place among those that were asked for."""

    def __init__(self, port: int, at: int) -> None:
        super().__init__(port)
        self.port, self.at = port, at


class Ports:
    """The node ports of one cluster, ``first`` to ``last``."""

    def __init__(self, store: Store, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._store = store
        self._turn = asyncio.Lock()

    @property
    def range(self) -> str:
        return f"{self.first}-{self.last}"

    def holds(self, port: int) -> bool:
        return self.first <= port <= self.last

    async def taken(self) -> frozenset[int]:
        bits, _ = await self._read()
        return frozenset(self.first + at for at in range(self.last - self.first + 1) if bits >> at & 1)

    async def take(self, wanted: Iterable[int], some: int, *, dry_run: bool = False) -> list[int]:
        """Take certain ports and as many others as asked for; gives the others. Raises Taken, Exhausted."""
        named = list(wanted)
        given: list[int] = []

        def change(bits: int) -> int:
            for at, port in enumerate(named):
                if bits >> (port - self.first) & 1:
                    raise Taken(port, at)
                bits |= 1 << (port - self.first)
            given[:] = self._free(bits, some)
            for port in given:
                bits |= 1 << (port - self.first)
            return bits

        if dry_run:
            change((await self._read())[0])
        elif named or some:
            await self._change(change)
        return given

    async def release(self, ports: Iterable[int]) -> None:
        mask = self._mask(ports)
        if mask:
            await self._change(lambda bits: bits & ~mask)

    async def retake(self, ports: Iterable[int]) -> None:
        """Have it that ports are taken, whoever took them."""
        mask = self._mask(ports)
        if mask:
            await self._change(lambda bits: bits | mask)

    def _mask(self, ports: Iterable[int]) -> int:
        mask = 0
        for port in ports:
            if self.holds(port):
                mask |= 1 << (port - self.first)
        return mask

    def _free(self, bits: int, some: int) -> list[int]:
        if not some:
            return []
        size = self.last - self.first + 1
        # The first part is left to those who choose their own.
        start = min(max(16, size // 32), 128) if size > 16 else 0
        free = [at for at in range(start, size) if not bits >> at & 1]
        if len(free) < some:
            free = [*free, *(at for at in range(start) if not bits >> at & 1)]
        if len(free) < some:
            raise Exhausted
        return [self.first + at for at in random.SystemRandom().sample(free, some)]

    async def _read(self) -> tuple[int, int]:
        stored, _ = await self._store.get(KEY)
        if stored is None:
            return 0, 0
        raw = _FORM.raw(stored.value, stored.revision)
        return int.from_bytes(base64.b64decode(raw.get("data") or ""), "big"), stored.revision

    async def _change(self, change: Callable[[int], int]) -> None:
        """Write what a change makes of the bitmap; this server's own changes wait for each other instead of colliding."""
        try:
            async with asyncio.timeout(_PATIENCE), self._turn:
                while not await self._changed(change):
                    pass  # another server was first: there is a new bitmap to change
        except TimeoutError as late:
            raise Unavailable("node ports are being taken by too many at once") from late

    async def _changed(self, change: Callable[[int], int]) -> bool:
        bits, revision = await self._read()
        wanted = change(bits)
        if wanted == bits:
            return True
        try:
            await self._store.put(KEY, _FORM.value(self._object(wanted)), revision)
        except RevisionMismatch:
            return False
        return True

    def _object(self, bits: int) -> Raw:
        data = base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "big")).decode()
        return {"metadata": {"name": "servicenodeports"}, "range": self.range, "data": data}
