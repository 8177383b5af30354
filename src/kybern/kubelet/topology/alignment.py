"""Giving a pod its CPUs, memory and devices, before anything of it runs.

What holds: nothing is awaited between looking at what is free and taking it, so that two pods never get the same (a plugin
that is asked which devices it prefers is asked first, and all is looked at anew with its answer); what was given is on disk
when the pod starts, or the pod is refused; a pod that cannot have all of it has none of it.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Pod
from kybern.kubelet.cpus import ledger as cpus
from kybern.kubelet.cpus.assignment import Unavailable as NoCpus
from kybern.kubelet.cpus.pinning import Pinning
from kybern.kubelet.devices import ledger as devices
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.devices.plugins import PluginFailure
from kybern.kubelet.memory import ledger as memory
from kybern.kubelet.memory.holding import Memory
from kybern.kubelet.status import Verdict
from kybern.kubelet.topology import metrics
from kybern.kubelet.topology.allot import Hand, Unaligned, allot
from kybern.kubelet.topology.hints import Numa
from kybern.kubelet.topology.merge import Policy

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Hands:
    """Those that have something to give; in upstream's order, which decides whose error is told."""

    devices: devices.Hand | None
    cpus: cpus.Hand | None
    memory: memory.Hand | None

    @property
    def all(self) -> list[Hand]:
        return [hand for hand in (self.devices, self.cpus, self.memory) if hand is not None]


class Alignment:
    """Gives pods what is the node's, and takes it back."""

    def __init__(self, devices: Devices, cpus: Pinning, memory: Memory, policy: Policy, numa: Numa) -> None:
        self.devices = devices
        self.cpus = cpus
        self.memory = memory
        self._policy = policy
        self._numa = numa
        self._begin_counts()

    async def admit(self, pod: Pod) -> Verdict | None:
        """Give a pod what it asks for and does not have; why it cannot have it, or nothing."""
        metrics.REQUESTS.inc()
        since = time.perf_counter()
        verdict = await self._given(pod) if self._hands(pod, {}).all else None
        metrics.DURATION.observe((time.perf_counter() - since) * 1000)
        if verdict is None:
            self._count_near(pod)
            return None
        metrics.ERRORS.inc()
        try:
            await self.release(pod.metadata.uid)
        except OSError as problem:
            # It has nothing all the same; what a file still says is tidied away after the next start of the kubelet.
            log.warning("cannot write down that pod %s has nothing: %s", pod.metadata.uid, problem)
        return verdict

    async def _given(self, pod: Pod) -> Verdict | None:
        try:
            await self._give(pod)
        except Unaligned as problem:
            if self._policy.guarantees:
                metrics.UNALIGNED.labels(self._policy.scope, "numa_node").inc()
            return Verdict("TopologyAffinityError", str(problem))
        except cpus.Misaligned as problem:
            return Verdict("SMTAlignmentError", str(problem))
        except (NoCpus, memory.Unavailable, devices.Unavailable, PluginFailure) as problem:
            return _unexpected(str(problem))
        except OSError as problem:
            # A full disk, say. Without a word of it there, another start of the kubelet would give it away again.
            return _unexpected(f"cannot write down what the pod was given: {problem}")
        return None

    def _hands(self, pod: Pod, answers: Mapping[devices.Question, frozenset[str]]) -> _Hands:
        return _Hands(self.devices.hand(pod, answers), self.cpus.hand(pod), self.memory.hand(pod))

    async def _allotted(self, pod: Pod) -> _Hands:
        """The hands, with all that the pod asks for."""
        answers: dict[devices.Question, frozenset[str]] = {}
        while True:
            hands = self._hands(pod, answers)
            try:
                allot(pod, hands.all, self._policy, self._numa)
            except devices.Asked as asked:
                answers[asked.question] = await self.devices.plugins.preferred(asked.question)
            else:
                return hands

    async def _give(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        try:
            hands = await self._allotted(pod)
        except (NoCpus, cpus.Misaligned):
            metrics.PINNED.inc()
            metrics.UNPINNED.inc()
            if self.cpus.whole_cores:
                metrics.UNALIGNED.labels("container", "physical_cpu").inc()
            raise
        except memory.Unavailable:
            metrics.MEMORY.inc()
            metrics.NO_MEMORY.inc()
            raise
        self._take(uid, hands)
        if hands.devices is not None:
            await self.devices.keep(uid)
        if hands.memory is not None:
            await self.memory.keep()
        if hands.cpus is not None:
            await self.cpus.keep()
        self._count()

    def _take(self, uid: str, hands: _Hands) -> None:
        if hands.devices is not None:
            self.devices.take(hands.devices.given)
        if hands.memory is not None:
            metrics.MEMORY.inc(len(hands.memory.given))
            self.memory.take(uid, hands.memory)
        if hands.cpus is not None:
            metrics.PINNED.inc(len(hands.cpus.given))
            if self.cpus.whole_cores:
                metrics.ALIGNED.labels("container", "physical_cpu").inc(len(hands.cpus.given))
            close = sum(map(self.cpus.under_one_cache, hands.cpus.given))
            metrics.ALIGNED.labels("container", "uncore_cache").inc(close)
            self.cpus.take(hands.cpus.given)

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more: all it had is free, even if that cannot be written down (raises OSError)."""
        problems: list[OSError] = []
        for giver in (self.devices, self.cpus, self.memory):
            try:
                await giver.release(uid)
            except OSError as problem:
                problems.append(problem)
        self._count()
        if problems:
            raise problems[0]

    def holders(self) -> frozenset[str]:
        """Uids of the pods that have something."""
        return self.devices.holders() | self.cpus.holders() | self.memory.holders()

    def _begin_counts(self) -> None:
        """Have at 0 what can be counted here."""
        if self._policy.name != "none":
            for scope in ("container", "pod"):
                metrics.ALIGNED.labels(scope, "numa_node")
                metrics.UNALIGNED.labels(scope, "numa_node")
        if self.cpus.allocatable:
            metrics.UNALIGNED.labels("container", "physical_cpu")
            metrics.ALIGNED.labels("container", "physical_cpu")
            metrics.ALIGNED.labels("container", "uncore_cache")
        self._count()

    def _count_near(self, pod: Pod) -> None:
        if self._policy.guarantees:
            of_pod = self._policy.scope == "pod"
            containers = len(pod.spec.init_containers) + len(pod.spec.containers)
            metrics.ALIGNED.labels(self._policy.scope, "numa_node").inc(1 if of_pod else containers)

    def _count(self) -> None:
        metrics.SHARED.set(1000 * len(self.cpus.available))
        metrics.EXCLUSIVE.set(self.cpus.exclusive)
        for node, own in self.cpus.by_node.items():
            metrics.ON_NODE.labels(str(node)).set(own)


def _unexpected(why: str) -> Verdict:
    return Verdict("UnexpectedAdmissionError", f"Allocate failed due to {why}, which is unexpected")
