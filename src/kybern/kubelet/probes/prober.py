"""Runs the probes of running containers, each in a task of its own, and keeps their verdicts.

What holds: liveness and readiness wait for the startup probe; a run that failed its liveness or startup probe is probed no
more (it is going to be stopped); the tasks of a run end with it. Verdicts are by the id of a run, so a new run starts
with none. After a restart of the kubelet a run keeps the verdicts that the API server was last told, until it has new
ones: otherwise every restart would take all services of the node out of their endpoints.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kybern.api.core_v1 import Container, Pod, Probe
from kybern.kubelet.cri import Runtime
from kybern.kubelet.parts import containers, is_sidecar
from kybern.kubelet.plan import Health
from kybern.kubelet.probes import execute, grpc, http, metrics, tcp
from kybern.kubelet.probes.tally import Tally, count
from kybern.kubelet.probes.target import Outcome, Target
from kybern.kubelet.runtime import Actual, Instance
from kybern.kubelet.voice import Voice

log = logging.getLogger(__name__)

PROBES: tuple[tuple[str, Callable[[Any, Target], Awaitable[Outcome]]], ...] = (
    ("exec", execute.probe),
    ("http_get", http.probe),
    ("tcp_socket", tcp.probe),
    ("grpc", grpc.probe),
)
_KINDS = ("startup", "liveness", "readiness")
_TITLES = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}
_TRIES = 3
_FIELDS = {"startup": "started", "liveness": "live", "readiness": "ready"}


def _of_kind(container: Container, kind: str) -> Probe | None:
    found: Probe | None = getattr(container, f"{kind}_probe")
    return found


async def once(probe: Probe, target: Target) -> Outcome:
    """Make one probe. One that could not be made is made again at once, as often as upstream does (maxProbeRetries)."""
    outcome = await _once(probe, target)
    for _try in range(_TRIES - 1):
        if outcome.ok is not None:
            break
        outcome = await _once(probe, target)
    return outcome


async def _once(probe: Probe, target: Target) -> Outcome:
    for name, run in PROBES:
        action = getattr(probe, name)
        if action is not None:
            try:
                async with asyncio.timeout(target.seconds + 5):
                    return await run(action, target)
            except TimeoutError:
                return Outcome(False, "context deadline exceeded")
    return Outcome(None, "missing probe handler")


def told(title: str, outcome: Outcome) -> tuple[str, str]:
    """The reason and the text of the event for an outcome that is not plainly well. Pure."""
    if outcome.ok:
        return "ProbeWarning", f"{title} probe warning: {outcome.text}"
    if outcome.ok is None:
        return "Unhealthy", f"{title} probe errored and resulted in unknown state: {outcome.text}"
    return "Unhealthy", f"{title} probe failed: {outcome.text}"


def initial(probe: Probe, started: datetime | None, now: datetime) -> float:
    """Seconds until the first probe. A start that is still to come tells that the clock was set back, no more. Pure."""
    whole = float(probe.initial_delay_seconds or 0)
    age = (now - started).total_seconds() if started is not None else 0.0
    return max(0.0, whole - max(0.0, age))


@dataclass(frozen=True, slots=True)
class _Running:
    pod: Pod
    container: Container
    instance: Instance
    ip: str


class Prober:
    """The probes of one pod. ``wake`` is called when a verdict changes."""

    def __init__(self, runtime: Runtime, voice: Voice, host_ip: str, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._voice = voice
        self._host_ip = host_ip
        self._wake = wake
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._past: dict[str, asyncio.Event] = {}
        self.health: dict[str, Health] = {}

    def track(self, pod: Pod, actual: Actual, *, ending: bool = False) -> None:
        """Probe what runs now, and nothing else."""
        sandbox = actual.sandbox
        ip = sandbox.ips[0] if sandbox is not None and sandbox.ips else ""
        if pod.spec.host_network:
            ip = self._host_ip
        running = list(_running(pod, actual, ip))
        kinds = ("readiness",) if ending else _KINDS
        wanted = {(found.instance.id, kind): found for found in running for kind in kinds}
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key).cancel()
        known = {instance.id for instance in actual.instances}
        self.health = {key: value for key, value in self.health.items() if key in known}
        self._past = {key: value for key, value in self._past.items() if key in known}
        for (identity, kind), found in wanted.items():
            if _of_kind(found.container, kind) is not None and (identity, kind) not in self._tasks:
                self._seed(found)
                self._tasks[identity, kind] = asyncio.create_task(self._probe(found, kind))

    def _seed(self, found: _Running) -> None:
        """What the API server was last told of this very run."""
        if found.instance.id in self.health:
            return
        status = found.pod.status
        for told in (*status.init_container_statuses, *status.container_statuses):
            if told.container_id.endswith(f"://{found.instance.id}"):
                started = told.started or None if found.container.startup_probe is not None else None
                self.health[found.instance.id] = Health(started=started, ready=told.ready or None)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _probe(self, found: _Running, kind: str) -> None:
        probe = _of_kind(found.container, kind)
        assert probe is not None
        identity = found.instance.id
        past = self._past.setdefault(identity, asyncio.Event())
        if kind != "startup" and found.container.startup_probe is not None:
            await past.wait()
        await self._initial(found, probe)
        target = Target(self._runtime, identity, found.container, found.ip, float(probe.timeout_seconds or 1))
        tally = Tally()
        while True:
            begun = time.monotonic()
            outcome = await once(probe, target)
            metrics.count(kind, found.pod, found.container.name, outcome.ok, time.monotonic() - begun)
            if outcome.ok is not True or outcome.warns:
                self._tell(found, kind, outcome)
            tally, verdict = count(tally, outcome.ok, probe)
            if verdict is not None:
                self._decide(identity, kind, verdict=verdict)
                if kind == "startup" and verdict:
                    past.set()
                    return
                if kind != "readiness" and not verdict:
                    return
            await asyncio.sleep(probe.period_seconds or 10)

    async def _initial(self, found: _Running, probe: Probe) -> None:
        delay = initial(probe, found.instance.started_at, datetime.now(UTC))
        if delay > 0:
            await asyncio.sleep(delay)

    def _decide(self, identity: str, kind: str, *, verdict: bool) -> None:
        old = self.health.get(identity, Health())
        new = replace(old, **{_FIELDS[kind]: verdict})
        if new != old:
            self.health[identity] = new
            self._wake()

    def _tell(self, found: _Running, kind: str, outcome: Outcome) -> None:
        reason, text = told(_TITLES[kind], outcome)
        self._voice.container(found.pod, found.container, "Warning", reason, text)


def _running(pod: Pod, actual: Actual, ip: str) -> Iterator[_Running]:
    for container, init in containers(pod):
        if init and not is_sidecar(container):
            continue
        instance = actual.here(container.name)
        if instance is not None and instance.running:
            yield _Running(pod, container, instance, ip)


type Verdicts = Mapping[str, Health]
