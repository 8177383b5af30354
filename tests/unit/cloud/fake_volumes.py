"""A cloud's volumes in dicts. Each call may come twice; ``asked`` notes them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kybern.cloud.provider import BlockVolume, CloudError, Impossible, InUse, NoRoom, Snapshot


@dataclass(eq=False)
class FakeVolumes:
    """``left``: bytes by zone; ``broken``: it answers nothing. ``made``: sizes by handle; ``at``: nodes by handle."""

    left: dict[str, int] = field(default_factory=lambda: {"rack-1": 1 << 30, "rack-2": 1 << 20})
    made: dict[str, int] = field(default_factory=dict)
    at: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    broken: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def work(self, *what: str) -> None:
        self.asked.append(what)
        if self.broken:
            raise CloudError("cannot ask rack-1: no answer within 10 s")

    def zone(self, handle: str) -> str:
        return handle.partition("/")[0]

    async def room(self, parameters: Mapping[str, str]) -> Mapping[str, int]:
        self.work("room")
        if "pool" not in parameters:
            raise Impossible('the class has no parameter "pool"')
        return dict(self.left)

    async def create(
        self, name: str, size: int, zone: str, parameters: Mapping[str, str], source: str = ""
    ) -> BlockVolume:
        handle = f"{zone}/{parameters['pool']}/{name}"
        self.work("create", handle)
        if handle not in self.made:
            if size > self.left.get(zone, 0):
                raise NoRoom(f"{size} bytes are asked for, {self.left.get(zone, 0)} are left")
            if source in self.at:
                raise InUse(f"cannot copy volume {source}: {self.at[source]} has it")
            self.left[zone] -= size
            self.made[handle] = size
            self.sources[handle] = source
        return BlockVolume(handle, self.made[handle], zone)

    async def delete(self, handle: str) -> None:
        self.work("delete", handle)
        if handle in self.at:
            raise InUse(f"cannot delete volume {handle}: {self.at[handle]} has it")
        self.left[handle.partition("/")[0]] += self.made.pop(handle, 0)

    async def attach(self, handle: str, node: str, provider_id: str) -> Mapping[str, str]:
        self.work("attach", handle, node)
        if handle not in self.made:
            raise CloudError(f"cannot attach volume {handle}: it is gone")
        if self.at.setdefault(handle, node) != node:
            raise InUse(f"cannot attach volume {handle}: {self.at[handle]} has it")
        return {"serial": handle}

    async def detach(self, handle: str, node: str, provider_id: str) -> None:
        self.work("detach", handle, node)
        if self.at.get(handle) == node:
            del self.at[handle]

    async def expand(self, handle: str, size: int) -> int:
        self.work("expand", handle)
        if size - self.made[handle] > self.left["rack-1"]:
            raise NoRoom("there is less left")
        self.made[handle] = max(size, self.made[handle])
        return self.made[handle]

    async def snapshot(self, handle: str, name: str) -> Snapshot:
        zone, pool, _ = handle.split("/")
        self.work("snapshot", handle)
        if handle in self.at:
            raise InUse(f"cannot copy volume {handle}: {self.at[handle]} has it")
        copy = f"{zone}/{pool}/{name}"
        self.made[copy] = self.made[handle]
        return Snapshot(copy, self.made[copy], 1_700_000_000_000_000_000)

    async def abandon_snapshot(self, handle: str, name: str) -> None:
        zone, pool, _ = handle.split("/")
        await self.delete(f"{zone}/{pool}/{name}")

    async def delete_snapshot(self, handle: str) -> None:
        await self.delete(handle)
