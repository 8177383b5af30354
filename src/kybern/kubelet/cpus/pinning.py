"""Keeping containers on their CPUs.

What holds: what is given is on disk before a container runs on it; when the shared CPUs become others, every container on
them is moved, at once and again every ten seconds (upstream's cpuManagerReconcilePeriod).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Pod
from kybern.kubelet.checkpoint import Checkpoint
from kybern.kubelet.cpus.assignment import PACKED
from kybern.kubelet.cpus.layout import Layout
from kybern.kubelet.cpus.ledger import Given, Hand, Shelf, spelled, wish_of_pod
from kybern.kubelet.cpus.options import Options
from kybern.kubelet.cri import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Rules:
    """``layout``: without CPUs in it, all of this is off (policy none). ``reserved`` are never given away."""

    layout: Layout = field(default_factory=Layout)
    reserved: frozenset[int] = frozenset()
    options: Options = PACKED


class Pinning:
    """Who has which CPUs for himself, and keeping everybody on what is his."""

    def __init__(self, file: Path, rules: Rules, runtime: Runtime) -> None:
        self._rules = rules
        self._runtime = runtime
        self._given = _read(file) if rules.layout.places else ()
        self._checkpoint = Checkpoint(file, lambda: msgspec.json.encode(self._given))
        self._applied: dict[str, str] = {}
        self._turn = asyncio.Lock()
        self.every = _EVERY
        self.running: Callable[[], Iterable[tuple[str, str, str]]] = tuple
        """Who runs: uid of the pod, name and id of the container."""

    @property
    def shared(self) -> frozenset[int]:
        """Whatever is nobody's own; without what is reserved, if nobody may run there (strict-cpu-reservation)."""
        own = {cpu for one in self._given for cpu in one.cpus}
        kept = self._rules.reserved if self._rules.options.strict else frozenset()
        return self._rules.layout.all - own - kept

    @property
    def available(self) -> frozenset[int]:
        """Those that could become somebody's own now."""
        return self.shared - self._rules.reserved

    @property
    def exclusive(self) -> int:
        """How many are somebody's own."""
        return len({cpu for one in self._given for cpu in one.cpus})

    @property
    def by_node(self) -> Mapping[int, int]:
        """How many of each NUMA node are somebody's own."""
        nodes = self._rules.layout.nodes
        own = {cpu for one in self._given for cpu in one.cpus}
        return {node: sum(nodes.get(cpu) == node for cpu in own) for node in set(nodes.values())}

    @property
    def whole_cores(self) -> bool:
        """Whether containers get no less than whole cores (full-pcpus-only)."""
        return self._rules.options.whole_cores

    def under_one_cache(self, given: Given) -> bool:
        caches = self._rules.layout.last_caches
        return len({caches.get(cpu) for cpu in given.cpus}) == 1

    def hand(self, pod: Pod) -> Hand | None:
        """What gives a pod the CPUs that it asks for; None when it asks for none, or has them."""
        if not self._rules.layout.places or pod.metadata.uid in self.holders() or not wish_of_pod(pod):
            return None
        rules = self._rules
        return Hand(pod, Shelf(rules.layout, self.available, rules.reserved, rules.options))

    def take(self, given: Iterable[Given]) -> None:
        """These are nobody else's from now on; ``keep`` writes it down."""
        self._given = (*self._given, *given)

    async def keep(self) -> None:
        """Have on disk who has what, and all containers on their CPUs."""
        await self._checkpoint.keep()
        await self.look()

    def of(self, uid: str, container: str) -> str:
        """The CPUs that a container runs on, in the kernel's notation; empty for all."""
        if not self._rules.layout.places:
            return ""
        return spelled(self.own(uid, container) or self.shared)

    def own(self, uid: str, container: str) -> tuple[int, ...]:
        """The CPUs that are a container's alone."""
        return next((one.cpus for one in self._given if (one.pod, one.container) == (uid, container)), ())

    @property
    def allocatable(self) -> frozenset[int]:
        """Those that could be somebody's alone."""
        return self._rules.layout.all - self._rules.reserved

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more."""
        if any(one.pod == uid for one in self._given):
            self._given = tuple(one for one in self._given if one.pod != uid)
            await self.keep()

    def holders(self) -> frozenset[str]:
        """Uids of the pods that have CPUs of their own."""
        return frozenset(one.pod for one in self._given)

    async def run(self) -> None:
        while self._rules.layout.places:
            await self.look()
            await asyncio.sleep(self.every)

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


_READS = msgspec.json.Decoder(tuple[Given, ...])


def _read(file: Path) -> tuple[Given, ...]:
    try:
        return _READS.decode(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as problem:
        log.warning("cannot read %s: %s; taking all CPUs for shared", file, problem)
        return ()
