"""One pod's resources through its life: granted when it comes, changed when it asks for others and the node has room.

What holds: what was granted is on disk before it is used; a pod's cgroup is never tighter than what its containers get
while they are updated; memory is not limited below what is used, which would kill instead of limit.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Container, Pod, ResourceRequirements
from kybern.kubelet import grants, resize
from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.grants import Grant
from kybern.kubelet.plan import Resize
from kybern.kubelet.resize import Progress, Refusal
from kybern.kubelet.resources import cgroup_of, own_limit, total
from kybern.kubelet.runtime import Instance
from kybern.kubelet.spec import SWAP_MAX, Machine, container_resources
from kybern.kubelet.voice import Voice
from kybern.machinery.struct import replace


class CannotResize(Exception):
    """The runtime or the kernel refused; it is tried again."""


class Allotment:
    """``refuse`` looks at the rest of the node: why a pod cannot have what it asks for."""

    def __init__(self, home: Path, voice: Voice, refuse: Callable[[Pod], Refusal | None]) -> None:
        self._home = home
        self._voice = voice
        self._refuse = refuse
        self._grant = grants.read(home)
        self.progress = Progress(self._grant.generation if self._grant is not None else None)
        # Whether the pod's cgroup has yet to get what was granted.
        self.due = self.progress.generation is not None

    def granted(self, pod: Pod) -> Pod:
        """The pod with the resources that it was granted."""
        return pod if self._grant is None else resize.with_resources(pod, self._grant.allocated)

    @property
    def actuated(self) -> Mapping[str, ResourceRequirements]:
        """What containers got before the last change, where they have not got what was granted then."""
        return self._grant.actuated if self._grant is not None else {}

    async def consider(self, wanted: Pod) -> bool:
        """Grant what is asked for, if that can be. Says whether the grant is another now."""
        if self._grant is None:
            await self._keep(Grant(resize.resources_of(wanted)))
            return False
        if not resize.differ(wanted, self._grant.allocated):
            self._pending(None, wanted)
            return False
        why = self._refuse(wanted)
        if why is not None:
            if self._pending(why, wanted):
                text = resize.told(why.reason, wanted, why.message)
                self._voice.pod(wanted, "Warning", f"Resize{why.reason}", text)
            return False
        await self._grant_anew(wanted, self._grant)
        return True

    def _pending(self, why: Refusal | None, wanted: Pod) -> bool:
        generation = wanted.metadata.generation if why is not None else None
        before = self.progress
        self.progress = Progress(before.generation, before.error, why, generation)
        return self.progress != before

    async def _grant_anew(self, wanted: Pod, before: Grant) -> None:
        fresh = resize.resources_of(wanted)
        kept = resize.changes({**before.allocated, **before.actuated}, fresh)
        await self._keep(Grant(fresh, kept, wanted.metadata.generation))
        self.due = True
        self.progress = Progress(wanted.metadata.generation)
        self._voice.pod(wanted, "Normal", "ResizeStarted", resize.told("started", wanted))

    async def _keep(self, grant: Grant) -> None:
        await asyncio.to_thread(grants.write, self._home, grant)
        self._grant = grant

    async def has(self, name: str) -> None:
        """A container runs with what was granted."""
        if self._grant is not None and name in self._grant.actuated:
            left = {key: value for key, value in self._grant.actuated.items() if key != name}
            await self._keep(Grant(self._grant.allocated, left, self._grant.generation))

    async def act(
        self, pod: Pod, action: Resize, runtime: Runtime, cgroups: Cgroups, machine: Machine
    ) -> None:
        """Do what was planned; raises CannotResize. ``pod`` is as granted."""
        try:
            for container, instance in action.runs:
                await self._fits(pod, container, instance, runtime)
            await self._whole_fits(pod, cgroups)
        except RuntimeFailure as problem:
            raise CannotResize(str(problem)) from problem
        await asyncio.to_thread(cgroups.lift, pod)
        try:
            for container, instance in action.runs:
                await runtime.update_container(instance.id, _changes(pod, container, machine))
                await self.has(container.name)
        except RuntimeFailure as problem:
            raise CannotResize(str(problem)) from problem
        else:
            self.due = False
        finally:
            # A limit below what containers still have would kill them.
            await asyncio.to_thread(cgroups.limit, self._before(pod) if self.due else pod)

    async def _fits(self, pod: Pod, container: Container, instance: Instance, runtime: Runtime) -> None:
        most = own_limit(pod, container, "memory").value()
        before = own_limit(self._before(pod), self._had(container), "memory").value()
        if most == 0 or before <= most:
            return
        used = await runtime.memory_of(instance.id)
        if used > most:
            raise CannotResize(
                f"attempting to set container {container.name} memory limit ({most}) below current usage ({used})"
            )

    async def _whole_fits(self, pod: Pod, cgroups: Cgroups) -> None:
        most, before = total(pod).memory_limit, total(self._before(pod)).memory_limit
        if most is None or (before is not None and before <= most):
            return
        found = await asyncio.to_thread(cgroups.memory, cgroup_of(pod, cgroups.parent))
        if found is not None and found.usage > most:
            raise CannotResize(
                f"attempting to set pod memory limit ({most}) below current usage ({found.usage})"
            )

    def _had(self, container: Container) -> Container:
        return replace(container, resources=self.actuated.get(container.name, container.resources))

    def _before(self, pod: Pod) -> Pod:
        """The pod as it asked for what it had before the last change."""
        return resize.with_resources(pod, {**resize.resources_of(pod), **self.actuated})

    def failed(self, pod: Pod, problem: CannotResize) -> None:
        """Tell that a resize did not go well, once for each problem."""
        if self.progress.error != str(problem):
            text = resize.told("error", pod, str(problem))
            self._voice.pod(pod, "Warning", "ResizeError", text)
        before = self.progress
        self.progress = Progress(before.generation, str(problem), before.pending, before.pending_generation)

    async def done(self, pod: Pod) -> None:
        """Every running container has what was granted."""
        if self.progress.generation is None or self._grant is None:
            return
        text = resize.told("completed", pod)
        self._voice.pod(pod, "Normal", "ResizeCompleted", text)
        before = self.progress
        self.progress = Progress(pending=before.pending, pending_generation=before.pending_generation)
        await self._keep(Grant(self._grant.allocated))


def _changes(pod: Pod, container: Container, machine: Machine) -> pb.LinuxContainerResources:
    """What the runtime is told: CPU and memory, and nothing that cannot change while a container runs."""
    whole = container_resources(pod, container, machine)
    return pb.LinuxContainerResources(
        cpu_period=whole.cpu_period,
        cpu_quota=whole.cpu_quota,
        cpu_shares=whole.cpu_shares,
        memory_limit_in_bytes=whole.memory_limit_in_bytes,
        memory_swap_limit_in_bytes=whole.memory_swap_limit_in_bytes,
        unified={name: text for name, text in whole.unified.items() if name == SWAP_MAX},
    )
