"""Stopping containers and whole pods, with preStop hooks and grace periods.

What holds: a container gets its preStop hook, then TERM, then KILL, and all of it together takes no longer than its grace
period (but at least two seconds after the hook, as upstream has it). Containers of a pod stop at the same time, and all
hooks begin at once, those of sidecars too; a sidecar gets its TERM when all others and the sidecars after it have ended,
or when the period is over. Sandboxes stop when no container runs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet import hooks
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.labels import GRACE, number
from kybern.kubelet.parts import containers, is_sidecar
from kybern.kubelet.runtime import Actual, Instance, RunState
from kybern.kubelet.surroundings import Surroundings

log = logging.getLogger(__name__)

_LEAST = 2


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


@dataclass(frozen=True, slots=True)
class Manner:
    """How a run is stopped: within ``grace`` seconds, after the ends of the runs in ``after``. ``ip`` is the pod's."""

    grace: int
    message: str = ""
    ip: str = ""
    after: tuple[asyncio.Event, ...] = ()


def _clock() -> float:
    """A clock that nobody sets, in seconds."""
    return asyncio.get_running_loop().time()


async def stop_container(pod: Pod, instance: Instance, manner: Manner, here: Surroundings) -> None:
    """Stop one run and wait for its end; raises CannotStop."""
    container = next((found for found, _init in containers(pod) if found.name == instance.name), None)
    begun, grace = _clock(), manner.grace
    if container is not None:
        text = manner.message or f"Stopping container {container.name}"
        here.voice.container(pod, container, "Normal", "Killing", text)
        if grace > 0 and instance.running:
            await _pre_stop(pod, container, instance, manner, here)
    await _turn(manner, begun + grace)
    left = grace - int(_clock() - begun)
    if grace > 0:
        left = max(left, _LEAST)
    try:
        await here.runtime.stop_container(instance.id, left)
    except RuntimeFailure as problem:
        raise CannotStop(f'failed to kill container "{instance.name}": {problem}') from problem


async def _turn(manner: Manner, until: float) -> None:
    """Wait for those that end before, but no longer than the whole pod may take."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            for ended in manner.after:
                await ended.wait()


async def _pre_stop(
    pod: Pod, container: Container, instance: Instance, manner: Manner, here: Surroundings
) -> None:
    handler = container.lifecycle.pre_stop if container.lifecycle is not None else None
    if handler is None:
        return
    try:
        async with asyncio.timeout(manner.grace):
            said = await hooks.run(
                handler, here.runtime, pod, container, instance.id, manner.ip or "127.0.0.1"
            )
            if said:
                here.voice.pod(pod, "Warning", hooks.FALLBACK, said)
    except TimeoutError:
        log.info("the preStop hook of %s did not end within %d s", instance.name, manner.grace)
    except hooks.HookFailed as problem:
        # What a command printed may be a secret: events are read by more people than logs of the node.
        log.warning("preStop hook of container %s of pod %s: %s", container.name, pod.metadata.name, problem)
        here.voice.container(pod, container, "Warning", "FailedPreStopHook", "PreStopHook failed")


async def stop_pod(pod: Pod, actual: Actual, here: Surroundings, grace: int, message: str = "") -> None:
    """Stop everything of a pod; raises CannotStop."""
    running = [i for i in actual.instances if i.state in (RunState.RUNNING, RunState.UNKNOWN)]
    ends = {instance.id: asyncio.Event() for instance in running}
    ip = next(iter(actual.sandbox.ips), "") if actual.sandbox is not None else ""
    await _all(
        _stopped(pod, instance, Manner(grace, message, ip, before), here, ends[instance.id])
        for instance, before in _order(pod, running, ends)
    )
    for sandbox in actual.sandboxes:
        if sandbox.ready:
            try:
                await here.runtime.stop_sandbox(sandbox.id)
            except RuntimeFailure as problem:
                raise CannotStop(f"failed to stop sandbox: {problem}") from problem


def _order(
    pod: Pod, running: Sequence[Instance], ends: Mapping[str, asyncio.Event]
) -> Iterable[tuple[Instance, tuple[asyncio.Event, ...]]]:
    """Each run with the ends that it waits for: a sidecar with those of all others and of the sidecars after it."""
    inits = pod.spec.init_containers
    place = {container.name: at for at, container in enumerate(inits) if is_sidecar(container)}
    for run in running:
        at = place.get(run.name, len(inits))
        later = [other for other in running if place.get(other.name, len(inits)) > at]
        yield run, tuple(ends[other.id] for other in later)


async def _stopped(
    pod: Pod, instance: Instance, manner: Manner, here: Surroundings, end: asyncio.Event
) -> None:
    try:
        await stop_container(pod, instance, manner, here)
    finally:
        # One that cannot be stopped keeps none of the others.
        end.set()


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """At the same time; the first problem is told after all are through."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
