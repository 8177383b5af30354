"""Keeping containers on their CPUs.

What holds: what is given is on disk before a container runs on it; when the shared CPUs become others, every container on
them is moved, at once and again every ten seconds (upstream's cpuManagerReconcilePeriod).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Pod
from kybern.kubelet.cpus.ledger import Given, Place, Unavailable, give, spelled
from kybern.kubelet.cri import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

_EVERY = 10.0


class Pinning:
    """``places``: the machine's CPUs; empty switches all of it off (policy none). ``reserved`` are never given away."""

    def __init__(
        self, file: Path, places: Mapping[int, Place], reserved: frozenset[int], runtime: Runtime
    ) -> None:
        self._file = file
        self._places = places
        self._reserved = reserved
        self._runtime = runtime
        self._given = _read(file) if places else ()
        self._applied: dict[str, str] = {}
        self._turn = asyncio.Lock()
        self.running: Callable[[], Iterable[tuple[str, str, str]]] = tuple
        """Who runs: uid of the pod, name and id of the container."""

    @property
    def shared(self) -> frozenset[int]:
        """Whatever is nobody's own."""
        return frozenset(self._places) - {cpu for one in self._given for cpu in one.cpus}

    async def admit(self, pod: Pod) -> str:
        """Give a pod its CPUs, if it asks for any and has none; why it cannot have them, or nothing."""
        uid = pod.metadata.uid
        if not self._places or any(one.pod == uid for one in self._given):
            return ""
        try:
            chosen = give(pod, self.shared - self._reserved, self._places)
        except Unavailable as problem:
            return str(problem)
        if chosen:
            await self._keep((*self._given, *chosen))
        return ""

    def of(self, uid: str, container: str) -> str:
        """The CPUs that a container runs on, in the kernel's notation; empty for all."""
        if not self._places:
            return ""
        own = next((one.cpus for one in self._given if (one.pod, one.container) == (uid, container)), None)
        return spelled(own if own is not None else self.shared)

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more."""
        if any(one.pod == uid for one in self._given):
            await self._keep(tuple(one for one in self._given if one.pod != uid))

    def holders(self) -> frozenset[str]:
        """Uids of the pods that have CPUs of their own."""
        return frozenset(one.pod for one in self._given)

    async def run(self) -> None:
        while self._places:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Have every running container on its CPUs."""
        async with self._turn:
            running = list(self.running())
            for uid, name, identity in running:
                wanted = self.of(uid, name)
                if self._applied.get(identity) == wanted:
                    continue
                try:
                    await self._runtime.update_container(
                        identity, pb.LinuxContainerResources(cpuset_cpus=wanted)
                    )
                except RuntimeFailure as problem:
                    log.warning("cannot keep container %s on CPUs %s: %s", identity, wanted, problem)
                else:
                    self._applied[identity] = wanted
            alive = {identity for _uid, _name, identity in running}
            self._applied = {key: value for key, value in self._applied.items() if key in alive}

    async def _keep(self, given: tuple[Given, ...]) -> None:
        self._given = given
        await asyncio.to_thread(_write, self._file, given)
        await self.look()


def _read(file: Path) -> tuple[Given, ...]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[Given, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as problem:
        log.warning("cannot read %s: %s; taking all CPUs for shared", file, problem)
        return ()


def _write(file: Path, given: tuple[Given, ...]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(given))
    fresh.replace(file)
