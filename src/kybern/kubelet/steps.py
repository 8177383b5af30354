"""Doing what was planned for one pod, and remembering what the next plan needs: delays, and why containers wait.

Events say what happens to containers in upstream's words; the waiting reasons are what ``kubectl get pods`` shows.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from kybern.api.core_v1 import Pod
from kybern.kubelet import numbers
from kybern.kubelet.allotment import Allotment, CannotResize
from kybern.kubelet.backoff import Delay, longer
from kybern.kubelet.parts import kind_of
from kybern.kubelet.plan import Action, Hold, MakeSandbox, Resize, Start, Stop, StopPod, delay_key
from kybern.kubelet.runtime import Actual
from kybern.kubelet.start import CannotStart, Starter, make_sandbox
from kybern.kubelet.stop import CannotStop, Manner, grace_of, stop_container, stop_pod
from kybern.kubelet.surroundings import Surroundings

log = logging.getLogger(__name__)

# What metrics call the kinds of containers.
_KINDS = {
    "containers": "container", "initContainers": "init_container", "ephemeralContainers": "ephemeral_container",
}  # fmt: skip


def shown(seconds: float) -> str:
    """As Go prints a duration of whole seconds: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class Steps:
    """The acts of one pod's worker."""

    def __init__(self, here: Surroundings, allotment: Allotment) -> None:
        self._here = here
        self._allotment = allotment
        self.delays: dict[str, Delay] = {}
        self.waiting: dict[str, tuple[str, str]] = {}
        # Runs that were stopped because their containers are others now.
        self.replaced: frozenset[str] = frozenset()

    async def do(
        self, pod: Pod, actions: Iterable[Action], actual: Actual, volumes: Mapping[str, Path]
    ) -> bool:
        """Do one plan; False when something failed and time should pass before the next."""
        well = True
        for action in actions:
            try:
                await self._one(pod, action, actual, volumes)
            except CannotStart as problem:
                well = False
                log.info("pod %s/%s: %s", pod.metadata.namespace, pod.metadata.name, problem)
                if not isinstance(action, Start):
                    break
                self.waiting[action.container.name] = (problem.reason, str(problem))
            except CannotResize as problem:
                well = False
                self._allotment.failed(pod, problem)
            except CannotStop as problem:
                self._here.voice.pod(pod, "Warning", "FailedKillPod", f"error killing pod: {problem}")
                return False
        return well

    async def _one(self, pod: Pod, action: Action, actual: Actual, volumes: Mapping[str, Path]) -> None:
        match action:
            case StopPod(message):
                if actual.sandboxes and message:
                    self._here.voice.pod(pod, "Normal", "SandboxChanged", message)
                await stop_pod(pod, actual, self._here, grace_of(pod), message)
            case MakeSandbox(attempt):
                await self._sandbox(pod, attempt)
            case Start():
                await self._start(pod, action, actual, volumes)
            case Stop():
                await self._stop(pod, action, actual)
            case Resize():
                here = self._here
                await self._allotment.act(pod, action, here.runtime, here.cgroups, here.machine)
            case Hold(container, _seconds, delay):
                meta = pod.metadata
                whole = f"{meta.name}_{meta.namespace}({meta.uid})"
                message = f"back-off {shown(delay)} restarting failed container={container.name} pod={whole}"
                self.waiting[container.name] = ("CrashLoopBackOff", message)
                text = f"Back-off restarting failed container {container.name} in pod {whole}"
                self._here.voice.container(pod, container, "Warning", "BackOff", text)

    async def _sandbox(self, pod: Pod, attempt: int) -> None:
        numbers.SANDBOXES.inc()
        try:
            await make_sandbox(pod, attempt, self._here)
        except CannotStart:
            numbers.NO_SANDBOXES.inc()
            raise

    async def _start(self, pod: Pod, action: Start, actual: Actual, volumes: Mapping[str, Path]) -> None:
        name = action.container.name
        if action.restart:
            key = delay_key(action.container)
            self.delays[key] = longer(self.delays.get(key), datetime.now(UTC), self._here.restart_most)
        kind = _KINDS[kind_of(pod, name)]
        numbers.STARTED.labels(kind).inc()
        try:
            await Starter(pod, self._here, volumes).start(action, actual)
        except CannotStart as problem:
            numbers.NOT_STARTED.labels(kind, problem.reason).inc()
            raise
        await self._allotment.has(name)
        self.waiting.pop(name, None)

    async def _stop(self, pod: Pod, action: Stop, actual: Actual) -> None:
        grace = grace_of(pod)
        probe = getattr(action.container, f"{action.probe}_probe", None) if action.probe else None
        if probe is not None and probe.termination_grace_period_seconds is not None:
            grace = probe.termination_grace_period_seconds
        if action.grace is not None:
            grace = action.grace
        ip = next(iter(actual.sandbox.ips), "") if actual.sandbox is not None else ""
        if action.replaced:
            here = {run.id for run in actual.instances}
            self.replaced = frozenset({*(self.replaced & here), action.instance.id})
        await stop_container(pod, action.instance, Manner(grace, action.message, ip), self._here)
