"""What to do next for one pod: a pure function from what is wanted and what is there to actions.

What holds:
- One step at a time: after the actions are done the worker looks again and plans again, so a plan never relies on the
  outcome of its own actions. When nothing is left to do the plan is empty, or says when to look again.
- The sandbox comes first; a new one makes all of the pod anew. Then init containers in their order, each waiting for the
  one before to end well (a sidecar: to have started). Then all other containers at once.
- A container that ended is run again as its restart policy says, after a delay that grows (``backoff.py``).
- One that fails its liveness or startup probe, or whose spec changed, is stopped; that it is run again follows from the
  rule above.

The end of a pod (``Stage``) is decided here too: deleted, finished, evicted or past its deadline.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from kybern.api.core_v1 import Container, Pod, ResourceRequirements
from kybern.kubelet import rounds
from kybern.kubelet.backoff import LAST, Delay, remaining
from kybern.kubelet.labels import spec_hash
from kybern.kubelet.parts import containers, ephemeral, is_sidecar
from kybern.kubelet.resize import WHOLE, decreases_first, needs
from kybern.kubelet.runtime import Actual, Instance, RunState
from kybern.machinery.struct import encode


@dataclass(frozen=True, slots=True)
class Health:
    """What probes say of one run of a container; None where a probe has not said anything yet."""

    started: bool | None = None
    ready: bool | None = None
    live: bool | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a plan rests on. ``health`` is by the id of a run, ``delays`` by ``delay_key``.

    ``pod`` asks for what it was granted; ``actuated`` is what containers got before that, where it was something else.
    ``due``: the pod's cgroup has not got what was granted.
    ``replaced``: the ids of runs that were stopped because their containers are others now.
    """

    pod: Pod
    actual: Actual
    now: datetime
    health: Mapping[str, Health] = field(default_factory=dict)
    delays: Mapping[str, Delay] = field(default_factory=dict)
    actuated: Mapping[str, ResourceRequirements] = field(default_factory=dict)
    restart_most: float = LAST
    replaced: frozenset[str] = frozenset()
    due: bool = False


@dataclass(frozen=True, slots=True)
class StopPod:
    """Stop whatever runs and all sandboxes, because the sandbox must be another one."""

    message: str


@dataclass(frozen=True, slots=True)
class MakeSandbox:
    attempt: int


@dataclass(frozen=True, slots=True)
class Start:
    """Run a container. ``restart``: it ran before, so the delay before the next time grows."""

    container: Container
    attempt: int
    init: bool = False
    restart: bool = False
    round: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop one run; ``probe`` names the probe that asked for it (its own grace period may apply).

    ``grace``: seconds instead of the pod's; 0 is without hooks. ``replaced``: it is run again whatever its policy.
    """

    instance: Instance
    container: Container
    message: str
    probe: str = ""
    grace: int | None = None
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """A container waits for so many seconds before it is run again: CrashLoopBackOff."""

    container: Container
    seconds: float
    delay: float


@dataclass(frozen=True, slots=True)
class Resize:
    """Give running containers the resources that the pod was granted, in this order, and its cgroup in any case."""

    runs: tuple[tuple[Container, Instance], ...]


type Action = StopPod | MakeSandbox | Start | Stop | Hold | Resize


def plan(facts: Facts) -> Iterator[Action]:
    """The next step for a pod that shall run."""
    sandbox = facts.actual.sandbox
    why = _why_another_sandbox(facts)
    if why is not None:
        if facts.actual.alive:
            yield StopPod(why)
        if _worth_a_sandbox(facts):
            yield MakeSandbox(0 if sandbox is None else sandbox.attempt + 1)
        return
    yield from _doubles(facts)
    old = [run for run in rounds.outdated(facts.pod, facts.actual) if run.running]
    yield from _of_last_round(facts, old)
    if old:
        return
    number = rounds.current(facts.pod, facts.actual)
    facts = replace(facts, actual=rounds.left_behind(facts.pod, facts.actual))
    for action in _next(facts):
        yield replace(action, round=number) if isinstance(action, Start) else action


def _of_last_round(facts: Facts, running: list[Instance]) -> Iterator[Action]:
    for container, _init in containers(facts.pod):
        for run in running:
            if run.name == container.name:
                message = f"Container {container.name} is restarted with all containers of the pod"
                yield Stop(run, container, message, grace=0)


def _next(facts: Facts) -> Iterator[Action]:
    """The next step in a sandbox that is as it should be."""
    initialized = yield from _inits(facts)
    if initialized:
        for container in facts.pod.spec.containers:
            yield from _keep(facts, container, init=False)
    yield from _ephemeral(facts)
    updates = tuple(_updates(facts))
    if updates or facts.due:
        yield Resize(updates)


def _doubles(facts: Facts) -> Iterator[Action]:
    """Runs beside a newer one of the same container: a runtime that hung may do later what was given up on."""
    for container, _init in containers(facts.pod):
        for instance in facts.actual.runs(container.name)[1:]:
            if instance.running:
                yield Stop(instance, container, f"Container {container.name} has a newer run")


def _ephemeral(facts: Facts) -> Iterator[Action]:
    """They run once, whatever else the pod is at, and are never run again."""
    for container in ephemeral(facts.pod):
        if facts.actual.latest(container.name) is None:
            yield Start(container, 0)


def _need(facts: Facts, container: Container) -> str:
    before = facts.actuated.get(container.name)
    if before is None:
        return ""
    return needs(container, before, facts.pod.spec.resources, facts.actuated.get(WHOLE))


def _updates(facts: Facts) -> Iterator[tuple[Container, Instance]]:
    """Running containers that get other resources without being run again."""
    every = (*facts.pod.spec.init_containers, *facts.pod.spec.containers)
    for container in decreases_first(every, facts.actuated):
        instance = facts.actual.here(container.name)
        if instance is not None and instance.running and _need(facts, container) == "update":
            yield container, instance


def resizing(facts: Facts) -> bool:
    """Whether a running container has not got what it was granted, or one that was stopped for it does not run yet."""
    found = ((facts.actual.here(c.name), _need(facts, c)) for c, _init in containers(facts.pod))
    return any(run is not None and (need == "restart" or (run.running and bool(need))) for run, need in found)


def _why_another_sandbox(facts: Facts) -> str | None:
    sandbox = facts.actual.sandbox
    if sandbox is None:
        return ""
    ready = sum(1 for found in facts.actual.sandboxes if found.ready)
    changed = sandbox.host_network != bool(facts.pod.spec.host_network)
    homeless = not sandbox.host_network and not sandbox.ips
    if not sandbox.ready or ready > 1 or changed or homeless:
        return "Pod sandbox changed, it will be killed and re-created."
    return None


def _worth_a_sandbox(facts: Facts) -> bool:
    """No new sandbox for a pod that has nothing left to run in it."""
    spec, actual = facts.pod.spec, facts.actual
    if actual.sandbox is None or not actual.instances:
        return True
    if spec.restart_policy == "Never":
        return False
    left = [c for c in spec.containers if _runs_again(facts, c, actual.latest(c.name))]
    return bool(left) or not any(actual.latest(container.name) for container in spec.containers)


def _inits(facts: Facts) -> Generator[Action, None, bool]:
    """Run init containers; returns whether the other containers may run."""
    done = any(facts.actual.here(container.name) for container in facts.pod.spec.containers)
    for container in facts.pod.spec.init_containers:
        instance = facts.actual.here(container.name)
        if is_sidecar(container):
            yield from _keep(facts, container, init=True)
            if not done and not has_started(facts, container, instance):
                return False
        elif done or (instance and instance.state is RunState.EXITED and instance.exit_code == 0):
            continue
        else:
            if instance is None or not instance.running:
                yield from _keep(facts, container, init=True)
            return False
    return True


def has_started(facts: Facts, container: Container, instance: Instance | None) -> bool:
    """Whether a run is past its startup probe."""
    if instance is None or not instance.running:
        return False
    if container.startup_probe is None:
        return True
    return facts.health.get(instance.id, Health()).started is True


def _keep(facts: Facts, container: Container, *, init: bool) -> Iterator[Action]:
    """Have one container run, or not, as it should."""
    instance = facts.actual.here(container.name)
    if instance is not None and instance.running:
        if (stop := _why_stop(facts, container, instance, init=init)) is not None:
            yield stop
        return
    if instance is not None and instance.state is RunState.UNKNOWN:
        kind = "Init container" if init else "Container"
        message = f'{kind} is in "unknown" state, try killing it before restart'
        yield Stop(instance, container, message)
        return
    before = facts.actual.latest(container.name)
    if not _runs_again(facts, container, instance, init=init):
        return
    attempt = 0 if before is None else before.attempt + 1
    begun = before is not None and before.sandbox == "" and not rounds.begins(container, before)
    if before is None or before.finished_at is None or begun or before.id in facts.replaced:
        yield Start(container, attempt, init, restart=False)
        return
    delay = facts.delays.get(delay_key(container))
    seconds = remaining(delay, before.finished_at, facts.now, facts.restart_most)
    if seconds > 0 and delay is not None:
        yield Hold(container, seconds, delay.seconds)
    else:
        yield Start(container, attempt, init, restart=True)


def delay_key(container: Container) -> str:
    """Of which container a delay is: one with another image, or with other resources, begins anew (GetBackoffKey)."""
    return (
        f"{container.name} {spec_hash(container)} {encode(container.resources or ResourceRequirements())!r}"
    )


def _why_stop(facts: Facts, container: Container, instance: Instance, *, init: bool) -> Stop | None:
    health = facts.health.get(instance.id, Health())
    name, probe = container.name, ""
    replaced = instance.spec_hash != spec_hash(container)
    if replaced:
        why = "definition changed"
    elif health.live is False:
        why, probe = "failed liveness probe", "liveness"
    elif health.started is False:
        why, probe = "failed startup probe", "startup"
    elif _need(facts, container) == "restart":
        return Stop(instance, container, f"Container {name} resize requires restart")
    else:
        return None
    if init:
        return Stop(instance, container, f"Init container {name} {why}", probe, replaced=replaced)
    again = replaced or policy_of(facts.pod, container) != "Never"
    text = f"Container {name} {why}{', will be restarted' if again else ''}"
    return Stop(instance, container, text, probe, replaced=replaced)


def policy_of(pod: Pod, container: Container) -> str:
    """Always, OnFailure or Never. Init containers of a pod that always restarts are run again on failure only."""
    return container.restart_policy or pod.spec.restart_policy or "Always"


def _runs_again(facts: Facts, container: Container, instance: Instance | None, *, init: bool = False) -> bool:
    """Whether a container that does not run shall be run (again)."""
    pod = facts.pod
    if instance is None or instance.state is not RunState.EXITED or _need(facts, container) == "restart":
        return True
    if instance.id in facts.replaced:
        return True
    if rounds.rule_for(container, instance.exit_code) is not None:
        # Alone, or with all others.
        return True
    if any(instance.id == run.id for run in rounds.outdated(pod, facts.actual)):
        return True
    policy = policy_of(pod, container)
    if init and not is_sidecar(container) and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and instance.exit_code != 0)


def runs_again(facts: Facts, container: Container, instance: Instance | None) -> bool:
    """The same for whoever describes the pod."""
    init = any(container.name == found.name for found in facts.pod.spec.init_containers)
    return _runs_again(facts, container, instance, init=init)


def wake_after(actions: Iterable[Action]) -> float | None:
    """Seconds after which to look again, when only time has to pass."""
    holds = [action.seconds for action in actions if isinstance(action, Hold)]
    return min(holds) if holds else None
