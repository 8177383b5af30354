"""Giving a pod its CPUs and devices, before anything of it runs.

What holds: nothing is awaited between looking at what is free and taking it, so that two pods never get the same; what was
given is on disk when the pod starts; a pod that cannot have all of it has none of it.
"""

import time

from kybern.api.core_v1 import Pod
from kybern.kubelet.cpus import ledger as cpus
from kybern.kubelet.cpus.pinning import Pinning
from kybern.kubelet.devices import ledger as devices
from kybern.kubelet.devices.allocation import Devices
from kybern.kubelet.devices.plugins import PluginFailure
from kybern.kubelet.status import Verdict
from kybern.kubelet.topology import metrics
from kybern.kubelet.topology.allot import Unaligned, allot
from kybern.kubelet.topology.hints import Numa
from kybern.kubelet.topology.merge import Policy


class Alignment:
    """Gives pods what is the node's, and takes it back."""

    def __init__(self, devices: Devices, cpus: Pinning, policy: Policy, numa: Numa) -> None:
        self.devices = devices
        self.cpus = cpus
        self._policy = policy
        self._numa = numa

    async def admit(self, pod: Pod) -> Verdict | None:
        """Give a pod what it asks for and does not have; why it cannot have it, or nothing."""
        device_hand, cpu_hand = self.devices.hand(pod), self.cpus.hand(pod)
        if device_hand is None and cpu_hand is None:
            return None
        metrics.REQUESTS.inc()
        since = time.perf_counter()
        try:
            await self._give(pod, device_hand, cpu_hand)
        except Unaligned as problem:
            verdict = Verdict("TopologyAffinityError", str(problem))
        except (cpus.Unavailable, devices.Unavailable, PluginFailure) as problem:
            text = f"Allocate failed due to {problem}, which is unexpected"
            verdict = Verdict("UnexpectedAdmissionError", text)
        else:
            return None
        finally:
            metrics.DURATION.observe((time.perf_counter() - since) * 1000)
        metrics.ERRORS.inc()
        await self.release(pod.metadata.uid)
        return verdict

    async def _give(self, pod: Pod, device_hand: devices.Hand | None, cpu_hand: cpus.Hand | None) -> None:
        hands = [hand for hand in (device_hand, cpu_hand) if hand is not None]
        try:
            allot(pod, hands, self._policy, self._numa)
        except cpus.Unavailable:
            metrics.UNPINNED.inc()
            raise
        if device_hand is not None:
            self.devices.take(device_hand.given)
        if cpu_hand is not None:
            metrics.PINNED.inc(len(cpu_hand.given))
            self.cpus.take(cpu_hand.given)
        if device_hand is not None:
            await self.devices.keep(pod.metadata.uid)
        if cpu_hand is not None:
            await self.cpus.keep()
        self._count()

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more."""
        await self.devices.release(uid)
        await self.cpus.release(uid)
        self._count()

    def _count(self) -> None:
        metrics.SHARED.set(1000 * len(self.cpus.shared))
        metrics.EXCLUSIVE.set(self.cpus.exclusive)
