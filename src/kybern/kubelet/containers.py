"""What the API says of each container: pure, from the spec, the runs the runtime knows, and probe results.

A container that does not run shows why: the reason that the worker noted when it last tried (ErrImagePull,
CrashLoopBackOff, CreateContainerConfigError ...), or that its turn has not come (ContainerCreating, PodInitializing).
``lastState`` is the run before, and the restart count lives in the runtime's annotations, so it survives restarts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kybern.api.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    ContainerUser,
    LinuxContainerUser,
    PodStatus,
    ResourceRequirements,
    VolumeMountStatus,
)
from kybern.kubelet import plan
from kybern.kubelet.message import cut, share
from kybern.kubelet.parts import containers, ephemeral, is_sidecar, kind_of, mounted_at
from kybern.kubelet.plan import Facts, Health
from kybern.kubelet.runtime import Instance, RunState
from kybern.machinery.struct import replace

_UNSEEN = (
    "Unable to get init container status from container runtime and pod has been initialized, "
    "treat it as exited normally"
)
_LOST = "The container could not be located when the pod was deleted.  The container used to be Running"


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why containers wait, by name: reason and message, noted by the worker. ``runtime`` is the scheme of ids."""

    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    runtime: str = "containerd"
    ending: bool = False


def statuses(facts: Facts, reasons: Reasons, before: PodStatus) -> tuple[tuple[ContainerStatus, ...], ...]:
    """Those of init containers, of all others, of ephemeral ones. ``before`` is what was last told."""
    spec = facts.pod.spec
    initialized = _initialized(facts)
    default = "PodInitializing" if spec.init_containers and not initialized else "ContainerCreating"
    inits = _each(facts, reasons, before.init_container_statuses, spec.init_containers, "PodInitializing")
    others = _each(facts, reasons, before.container_statuses, spec.containers, default)
    added = _each(
        facts, reasons, before.ephemeral_container_statuses, ephemeral(facts.pod), "ContainerCreating"
    )
    return tuple(inits), tuple(others), tuple(added)


def _initialized(facts: Facts) -> bool:
    """Whether init containers are through, as far as waiting reasons go."""
    for container in facts.pod.spec.init_containers:
        run = facts.actual.latest(container.name)
        ended_well = run is not None and run.state is RunState.EXITED and run.exit_code == 0
        if not ended_well and not (is_sidecar(container) and plan.has_started(facts, container, run)):
            return False
    return True


def _each(
    facts: Facts,
    reasons: Reasons,
    before: tuple[ContainerStatus, ...],
    listed: tuple[Container, ...],
    default: str,
) -> Iterator[ContainerStatus]:
    old = {status.name: status for status in before}
    through = listed is facts.pod.spec.init_containers and _past_init(facts)
    for container in listed:
        runs = facts.actual.runs(container.name)
        if not runs and through and not is_sidecar(container):
            yield _taken_away(container, old.get(container.name))
        elif runs:
            yield _of_runs(facts, reasons, container, runs, old.get(container.name))
        else:
            yield _never_ran(facts, reasons, container, default, old.get(container.name))


def _past_init(facts: Facts) -> bool:
    """Whether another container was made, before which they were through (upstream: HasAnyRegularContainerCreated)."""
    return any(facts.actual.runs(container.name) for container in facts.pod.spec.containers)


def _taken_away(container: Container, old: ContainerStatus | None) -> ContainerStatus:
    """An init container that did its work, and of which the runtime knows nothing any more."""
    if old is not None and old.state is not None and old.state.terminated is not None:
        return old
    ended = ContainerStateTerminated(reason="Completed", message=_UNSEEN, exit_code=0)
    return ContainerStatus(
        name=container.name, state=ContainerState(terminated=ended),
        last_state=(old.last_state if old is not None else None) or ContainerState(), ready=True,
        restart_count=(old.restart_count if old is not None else None) or 0, image=container.image, image_id="",
        started=False,
    )  # fmt: skip


def _never_ran(
    facts: Facts, reasons: Reasons, container: Container, default: str, old: ContainerStatus | None
) -> ContainerStatus:
    reason, message = reasons.waiting.get(container.name, (default, ""))
    state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))
    last, count = ContainerState(), 0
    if old is not None:
        last, count = old.last_state or last, old.restart_count or 0
        if old.state is not None and old.state.terminated is not None:
            state = old.state if reasons.ending else state
            last = last if reasons.ending else old.state
        elif old.state is not None and old.state.running is not None:
            lost = ContainerStateTerminated(
                reason="ContainerStatusUnknown", message=_LOST, exit_code=137, container_id=old.container_id
            )
            gone = ContainerState(terminated=lost)
            final = reasons.ending or plan.policy_of(facts.pod, container) == "Never"
            state, last = (gone, last) if final else (state, gone)
            count += 0 if final else 1
    return ContainerStatus(
        name=container.name, state=state, last_state=last, ready=False, restart_count=count,
        image=container.image, image_id="", started=False,
    )  # fmt: skip


def _of_runs(
    facts: Facts,
    reasons: Reasons,
    container: Container,
    runs: tuple[Instance, ...],
    old: ContainerStatus | None,
) -> ContainerStatus:
    run = runs[0]
    most = share(sum(1 for _each in containers(facts.pod)))
    state = state_of(run, reasons.runtime, most)
    last = state_of(runs[1], reasons.runtime, most) if len(runs) > 1 else _kept(run, old, reasons)
    state, last = _with_words(state, old), _with_words(last, old)
    if not run.running and not reasons.ending and plan.runs_again(facts, container, run):
        reason, message = reasons.waiting.get(container.name, ("", ""))
        if reason:
            last = state if state.terminated is not None else last
            state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))
    started = plan.has_started(facts, container, run)
    return ContainerStatus(
        name=container.name, state=state, last_state=last, restart_count=run.attempt,
        ready=_ready(facts, container, run, started), started=started, image=run.image or container.image,
        image_id=run.image_id, container_id=f"{reasons.runtime}://{run.id}", user=_user(run),
        volume_mounts=tuple(_mounts(container, run)), resources=_got(facts, container, run),
        allocated_resources=container.resources.requests if container.resources else {},
    )  # fmt: skip


def _got(facts: Facts, container: Container, run: Instance) -> ResourceRequirements | None:
    """What a container has: what was granted, unless it still runs with what it got before."""
    return facts.actuated.get(container.name, container.resources) if run.running else container.resources


def _kept(run: Instance, old: ContainerStatus | None, reasons: Reasons) -> ContainerState:
    """The run before the only one known: collected already, but told before."""
    if old is None:
        return ContainerState()
    if old.container_id == f"{reasons.runtime}://{run.id}":
        return old.last_state or ContainerState()
    if old.state is not None and old.state.terminated is not None:
        return old.state
    return old.last_state or ContainerState()


def _with_words(state: ContainerState, old: ContainerStatus | None) -> ContainerState:
    """A run with the last words that were told of it: the file that held them goes with the pod's volumes."""
    ended = state.terminated
    if ended is None or ended.message or old is None:
        return state
    for told in (old.state, old.last_state):
        known = told.terminated if told is not None else None
        if known is not None and known.container_id == ended.container_id and known.message:
            return ContainerState(terminated=replace(ended, message=known.message))
    return state


def _ready(facts: Facts, container: Container, run: Instance, started: bool) -> bool:
    """Init containers are ready once they ended well; others when they run and their probe says so."""
    if any(container.name == init.name for init in facts.pod.spec.init_containers) and not is_sidecar(
        container
    ):
        return run.state is RunState.EXITED and run.exit_code == 0
    if not run.running or not started or kind_of(facts.pod, container.name) == "ephemeralContainers":
        return False
    return container.readiness_probe is None or facts.health.get(run.id, Health()).ready is True


def state_of(run: Instance, runtime: str = "containerd", most: int = share(1)) -> ContainerState:
    """One run as the API says it; ``most`` is how many bytes its last words may have."""
    if run.state is RunState.RUNNING:
        return ContainerState(running=ContainerStateRunning(started_at=run.started_at))
    if run.state is RunState.EXITED:
        reason = run.reason or ("Completed" if run.exit_code == 0 else "Error")
        return ContainerState(
            terminated=ContainerStateTerminated(
                exit_code=run.exit_code, reason=reason, message=cut(run.message, most), started_at=run.started_at,
                finished_at=run.finished_at, container_id=f"{runtime}://{run.id}",
            )
        )  # fmt: skip
    return ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))


def _user(run: Instance) -> ContainerUser | None:
    if run.user is None:
        return None
    uid, gid, groups = run.user
    return ContainerUser(linux=LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=groups))


def _mounts(container: Container, run: Instance) -> Iterator[VolumeMountStatus]:
    for mount in container.volume_mounts:
        deep = "Enabled" if mounted_at(mount) in run.deep else "Disabled"
        recursive = deep if mount.read_only else ""
        yield VolumeMountStatus(
            name=mount.name, mount_path=mount.mount_path, read_only=mount.read_only or None,
            recursive_read_only=recursive,
        )  # fmt: skip
