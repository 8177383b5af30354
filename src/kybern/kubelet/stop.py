"""Stopping containers and whole pods, with preStop hooks and grace periods.

What holds: a container gets its preStop hook, then TERM, then KILL, and all of it together takes no longer than its grace
period (but at least two seconds after a hook, as upstream has it). Containers of a pod stop at the same time; sidecars
after all others, the last started first, within the same period. Sandboxes stop when no container runs.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet import hooks
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.labels import GRACE, number
from kybern.kubelet.parts import containers, is_sidecar
from kybern.kubelet.runtime import Actual, Instance, RunState
from kybern.kubelet.surroundings import Surroundings

log = logging.getLogger(__name__)

_LEAST_AFTER_HOOK = 2


class CannotStop(Exception):
    """The runtime refused; it is tried again."""


def grace_of(pod: Pod, actual: Actual | None = None) -> int:
    """How long a pod may take to stop: what was asked when it was deleted, or what it asks for itself.

    Of a pod that is only known by what runs of it, the containers remember (``actual``).
    """
    if not pod.spec.containers and actual is not None:
        return max((number(run.annotations, GRACE, 30) for run in actual.instances), default=30)
    if pod.metadata.deletion_grace_period_seconds is not None:
        return pod.metadata.deletion_grace_period_seconds
    own = pod.spec.termination_grace_period_seconds
    return 30 if own is None else own


async def stop_container(
    pod: Pod, instance: Instance, message: str, grace: int, here: Surroundings, ip: str = ""
) -> None:
    """Stop one run and wait for its end; raises CannotStop."""
    container = next((found for found, _init in containers(pod) if found.name == instance.name), None)
    begun = time.monotonic()
    if container is not None:
        text = message or f"Stopping container {container.name}"
        here.voice.container(pod, container, "Normal", "Killing", text)
        if grace > 0 and instance.running:
            await _pre_stop(pod, container, instance, grace, here, ip)
    left = grace - int(time.monotonic() - begun)
    if grace > 0:
        left = max(left, min(grace, _LEAST_AFTER_HOOK))
    try:
        await here.runtime.stop_container(instance.id, left)
    except RuntimeFailure as problem:
        raise CannotStop(f'failed to kill container "{instance.name}": {problem}') from problem


async def _pre_stop(
    pod: Pod, container: Container, instance: Instance, grace: int, here: Surroundings, ip: str
) -> None:
    handler = container.lifecycle.pre_stop if container.lifecycle is not None else None
    if handler is None:
        return
    try:
        async with asyncio.timeout(grace):
            said = await hooks.run(handler, here.runtime, container, instance.id, ip or "127.0.0.1")
            if said:
                here.voice.pod(pod, "Warning", hooks.FALLBACK, said)
    except TimeoutError:
        log.info("the preStop hook of %s did not end within %d s", instance.name, grace)
    except hooks.HookFailed as problem:
        here.voice.container(pod, container, "Warning", "FailedPreStopHook", f"PreStopHook failed: {problem}")


async def stop_pod(pod: Pod, actual: Actual, here: Surroundings, grace: int, message: str = "") -> None:
    """Stop everything of a pod; raises CannotStop."""
    begun = time.monotonic()
    running = [i for i in actual.instances if i.state in (RunState.RUNNING, RunState.UNKNOWN)]
    sidecars = [c.name for c in pod.spec.init_containers if is_sidecar(c)]
    others = [instance for instance in running if instance.name not in sidecars]
    ip = next(iter(actual.sandbox.ips), "") if actual.sandbox is not None else ""
    await _all(pod, others, message, grace, here, ip)
    for name in reversed(sidecars):
        left = max(0, grace - int(time.monotonic() - begun))
        last = [instance for instance in running if instance.name == name]
        await _all(pod, last, message, min(grace, max(left, _LEAST_AFTER_HOOK)), here, ip)
    for sandbox in actual.sandboxes:
        if sandbox.ready:
            try:
                await here.runtime.stop_sandbox(sandbox.id)
            except RuntimeFailure as problem:
                raise CannotStop(f"failed to stop sandbox: {problem}") from problem


async def _all(
    pod: Pod, instances: Iterable[Instance], message: str, grace: int, here: Surroundings, ip: str
) -> None:
    """Stop several at the same time; the first problem is told after all are through."""
    work = [stop_container(pod, instance, message, grace, here, ip) for instance in instances]
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
