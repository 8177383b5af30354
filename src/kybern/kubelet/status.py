"""What the API says of a pod: phase, conditions, addresses. Pure.

What holds: the phase follows from the containers alone and never leaves Succeeded or Failed again; a condition's transition
time moves only when its status does; conditions of others (readiness gates, the scheduler's) are kept as they are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kybern.api.core_v1 import (
    Container,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
    ResourceRequirements,
)
from kybern.kubelet import plan, rounds
from kybern.kubelet.containers import Reasons, statuses
from kybern.kubelet.parts import is_sidecar
from kybern.kubelet.plan import Facts
from kybern.kubelet.resize import IN_PROGRESS, PENDING, WHOLE, Progress, with_resources
from kybern.kubelet.resize import conditions as of_resize
from kybern.kubelet.resources import asked_names, limited_names, limits_of, request_of, shown
from kybern.machinery.struct import replace

FINISHED = ("Succeeded", "Failed")
READY_TO_START, INITIALIZED, READY = "PodReadyToStartContainers", "Initialized", "Ready"
CONTAINERS_READY, SCHEDULED = "ContainersReady", "PodScheduled"

RESTARTING = "AllContainersRestarting"
OURS = frozenset({
    READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED, RESTARTING, PENDING, IN_PROGRESS,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the kubelet ends a pod by itself: DeadlineExceeded, Evicted, OutOfcpu ...

    ``grace`` is how long it may take at most, in seconds; ``condition`` is set along with it.
    """

    reason: str
    message: str
    grace: int | None = None
    condition: PodCondition | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What the description of a pod needs beside the facts of its plan."""

    host_ips: tuple[str, ...] = ()
    reasons: Reasons = field(default_factory=Reasons)
    verdict: Verdict | None = None
    resize: Progress = field(default_factory=Progress)


def status_of(facts: Facts, situation: Situation, before: PodStatus) -> PodStatus:
    """The whole status. ``before`` is what was last told of the pod."""
    inits, others, added = statuses(facts, situation.reasons, before)
    computed = phase(facts, inits, others)
    if situation.verdict is not None:
        computed = "Failed"
    elif before.phase in FINISHED:
        computed = before.phase
    ends = situation.reasons.ending or situation.verdict is not None
    if ends and computed in FINISHED and facts.actual.alive:
        # The API learns of the end when nothing runs any more: until then a replacement could clash with it.
        computed = before.phase if before.phase not in ("", "Pending") else "Running"
    ips = _ips(facts, situation, before)
    # A verdict that was not carried out before the kubelet ended is none: the pod runs, and says no more why it should not.
    told = situation.verdict or (before if computed in FINISHED else PodStatus())
    status = replace(
        before,
        phase=computed,
        reason=told.reason,
        message=told.message,
        init_container_statuses=inits,
        container_statuses=others,
        ephemeral_container_statuses=added,
        host_ip=situation.host_ips[0] if situation.host_ips else "",
        host_ips=tuple(HostIP(ip=ip) for ip in situation.host_ips),
        pod_ip=ips[0] if ips else "",
        pod_ips=tuple(PodIP(ip=ip) for ip in ips),
        start_time=before.start_time or facts.now.replace(microsecond=0),
        observed_generation=facts.pod.metadata.generation,
        allocated_resources=_allocated(facts.pod),
        resources=_of_whole(facts),
    )
    return replace(status, conditions=tuple(_conditions(facts, situation, status, before)))


def _allocated(pod: Pod) -> dict[str, str]:
    """What the pod as a whole was granted: what it asks for itself, or all of its containers together (KEP-5419)."""
    own = pod.spec.resources
    if own is not None and own.requests:
        return dict(own.requests)
    bare = replace(pod, spec=replace(pod.spec, overhead={}))
    return {name: shown(request_of(bare, name), name) for name in asked_names(bare) if request_of(bare, name)}


def _of_whole(facts: Facts) -> ResourceRequirements | None:
    """What the pod has: its own, unless its cgroup still has what it had before; else its containers' together."""
    own = facts.pod.spec.resources
    if facts.due and WHOLE in facts.actuated:
        own = facts.actuated[WHOLE]
    if own is not None:
        return own
    sizes = {name: had for name, had in facts.actuated.items() if name != WHOLE}
    sized = with_resources(facts.pod, sizes)
    pod = replace(sized, spec=replace(sized.spec, overhead={}))
    most = {name: limits_of(pod, name) for name in limited_names(pod)}
    found = ResourceRequirements(
        requests=_allocated(pod), limits={name: shown(milli, name) for name, milli in most.items() if milli}
    )
    return found if found.requests or found.limits else None


def _ips(facts: Facts, situation: Situation, before: PodStatus) -> tuple[str, ...]:
    sandbox = facts.actual.sandbox
    if facts.pod.spec.host_network:
        return situation.host_ips if sandbox is not None else ()
    if sandbox is not None and sandbox.ips:
        return sandbox.ips
    return tuple(found.ip for found in before.pod_ips)


@dataclass(slots=True)
class _Count:
    """How many containers are in which state, as far as the phase cares."""

    waiting: int = 0
    running: int = 0
    stopped: int = 0
    succeeded: int = 0
    unknown: int = 0


def phase(facts: Facts, inits: tuple[ContainerStatus, ...], others: tuple[ContainerStatus, ...]) -> str:
    """Upstream's getPhase, as rules."""
    pod = facts.pod
    if _still_initializing(facts, inits, others):
        return "Pending"
    if _init_failed(facts, inits) and not any(_ran(status) for status in others):
        return "Failed"
    count = _counted(others)
    if count.waiting:
        return "Pending"
    if count.running and not count.unknown:
        return "Running"
    if count.stopped and not count.unknown:
        return _after_the_end(facts, pod.spec.containers, count)
    return "Pending"


def _counted(others: tuple[ContainerStatus, ...]) -> _Count:
    count = _Count()
    for status in others:
        state = status.state
        if state is None:
            count.unknown += 1
        elif state.running is not None:
            count.running += 1
        elif state.terminated is not None:
            count.stopped += 1
            count.succeeded += state.terminated.exit_code == 0
        elif status.last_state is not None and status.last_state.terminated is not None:
            # Waits for its next run: it ran before, so the pod is not pending any more.
            count.stopped += 1
        else:
            count.waiting += 1
    return count


def _ran(status: ContainerStatus) -> bool:
    state, last = status.state, status.last_state
    now = state is not None and (state.running is not None or state.terminated is not None)
    return now or (last is not None and last.terminated is not None)


def _after_the_end(facts: Facts, containers: tuple[Container, ...], count: _Count) -> str:
    """All containers stopped: whether the pod is over, and how."""
    latest = [(container, facts.actual.latest(container.name)) for container in containers]
    if facts.pod.metadata.deletion_timestamp is None and any(
        run is None or plan.runs_again(facts, container, run) for container, run in latest
    ):
        return "Running"
    return "Succeeded" if count.succeeded == count.stopped else "Failed"


def _still_initializing(
    facts: Facts, inits: tuple[ContainerStatus, ...], others: tuple[ContainerStatus, ...]
) -> bool:
    if any(_ran(status) for status in others):
        return False
    return bool(_incomplete(facts, inits)) and not _init_failed(facts, inits)


def _incomplete(facts: Facts, inits: tuple[ContainerStatus, ...]) -> list[str]:
    """Names of init containers that hold the others up."""
    found = []
    for container, status in zip(facts.pod.spec.init_containers, inits, strict=True):
        done = status.started if is_sidecar(container) else status.ready
        if not done:
            found.append(container.name)
    return found


def _init_failed(facts: Facts, inits: tuple[ContainerStatus, ...]) -> bool:
    for container, status in zip(facts.pod.spec.init_containers, inits, strict=True):
        ended = status.state.terminated if status.state is not None else None
        final = not is_sidecar(container) and plan.policy_of(facts.pod, container) == "Never"
        if ended is not None and ended.exit_code != 0 and final:
            return True
    return False


def _conditions(
    facts: Facts, situation: Situation, status: PodStatus, before: PodStatus
) -> Iterator[PodCondition]:
    """Ours in upstream's order, then those of others."""
    sandbox = facts.actual.ready_sandbox
    placed = sandbox is not None and (sandbox.host_network or bool(sandbox.ips))
    containers = _containers_ready(facts, status)
    made = (
        PodCondition(type=READY_TO_START, status="True" if placed else "False"),
        _initialized(facts, status),
        _pod_ready(facts, status, containers),
        containers,
        PodCondition(type=SCHEDULED, status="True"),
        *_restarting(facts, status),
    )
    old = {condition.type: condition for condition in before.conditions}
    for condition in of_resize(situation.resize):
        generation = condition.observed_generation
        yield replace(_timed(facts, condition, old.get(condition.type)), observed_generation=generation)
    for condition in made:
        yield _timed(facts, condition, old.get(condition.type))
    told = situation.verdict.condition if situation.verdict is not None else None
    if told is not None:
        yield _timed(facts, told, old.get(told.type))
    named = told.type if told is not None else ""
    yield from (c for c in before.conditions if c.type not in OURS and c.type != named)


def _restarting(facts: Facts, status: PodStatus) -> Iterator[PodCondition]:
    """Only of pods that could begin anew as a whole."""
    if not rounds.could(facts.pod):
        return
    over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(status.phase, "")
    now = not over and rounds.restarting(facts.pod, facts.actual)
    yield PodCondition(type=RESTARTING, status="True" if now else "False", reason=over)


def _timed(facts: Facts, new: PodCondition, old: PodCondition | None) -> PodCondition:
    same = old is not None and old.status == new.status and old.last_transition_time is not None
    when = old.last_transition_time if same and old is not None else facts.now.replace(microsecond=0)
    return replace(new, last_transition_time=when, observed_generation=facts.pod.metadata.generation)


def _initialized(facts: Facts, status: PodStatus) -> PodCondition:
    if status.phase == "Succeeded":
        return PodCondition(type=INITIALIZED, status="True", reason="PodCompleted")
    missing = _incomplete(facts, status.init_container_statuses)
    if missing and not any(_ran(found) for found in status.container_statuses):
        message = f"containers with incomplete status: [{' '.join(missing)}]"
        return PodCondition(
            type=INITIALIZED, status="False", reason="ContainersNotInitialized", message=message
        )
    return PodCondition(type=INITIALIZED, status="True")


def _containers_ready(facts: Facts, status: PodStatus) -> PodCondition:
    if status.phase in FINISHED:
        reason = "PodCompleted" if status.phase == "Succeeded" else "PodFailed"
        return PodCondition(type=CONTAINERS_READY, status="False", reason=reason)
    unready = list(_unready(facts, status))
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return PodCondition(
            type=CONTAINERS_READY, status="False", reason="ContainersNotReady", message=message
        )
    return PodCondition(type=CONTAINERS_READY, status="True")


def _unready(facts: Facts, status: PodStatus) -> Iterator[str]:
    pairs = zip(facts.pod.spec.init_containers, status.init_container_statuses, strict=True)
    sidecars = [found for container, found in pairs if is_sidecar(container)]
    yield from (found.name for found in [*sidecars, *status.container_statuses] if not found.ready)


def _pod_ready(facts: Facts, status: PodStatus, containers: PodCondition) -> PodCondition:
    if containers.status != "True":
        return replace(containers, type=READY)
    problems = list(_gates(facts, status.conditions))
    if problems:
        return PodCondition(
            type=READY, status="False", reason="ReadinessGatesNotReady", message=", ".join(problems)
        )
    return PodCondition(type=READY, status="True")


def _gates(facts: Facts, conditions: Iterable[PodCondition]) -> Iterator[str]:
    known = {condition.type: condition.status for condition in conditions}
    for gate in facts.pod.spec.readiness_gates:
        name = gate.condition_type
        if name not in known:
            yield f'corresponding condition of pod readiness gate "{name}" does not exist.'
        elif known[name] != "True":
            yield f'the status of pod readiness gate "{name}" is not "True", but {known[name]}'
