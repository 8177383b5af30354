"""What a deployment's status says: counts, and whether the rollout is done, goes on or stands still; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kybern.api.apps_v1 import Deployment, DeploymentCondition
from kybern.controllers.deployment.plan import Plan, State, is_scaled, limits, replicas
from kybern.loop.controller import Action, Again, PatchStatus
from kybern.machinery.struct import replace

# Upstream's way to say "no deadline".
_NEVER = 2**31 - 1


def counts(wanted: Deployment, found: Plan) -> Mapping[str, int]:
    """What the replica sets say about their pods."""
    available = sum(one.status.available_replicas or 0 for one in found.all)
    return {
        "replicas": sum(one.status.replicas or 0 for one in found.all),
        "updated_replicas": (found.new.status.replicas or 0) if found.new is not None else 0,
        "ready_replicas": sum(one.status.ready_replicas or 0 for one in found.all),
        "available_replicas": available,
        "unavailable_replicas": max(sum(map(replicas, found.all)) - available, 0),
        "terminating_replicas": sum(one.status.terminating_replicas or 0 for one in found.all),
        "observed_generation": wanted.metadata.generation or 0,
    }


def is_complete(wanted: Deployment, found: Plan) -> bool:
    now = counts(wanted, found)
    return now["updated_replicas"] == now["replicas"] == now["available_replicas"] == replicas(wanted)


def _made_progress(wanted: Deployment, now: Mapping[str, int]) -> bool:
    old = wanted.status
    updated = old.updated_replicas or 0
    return (
        now["updated_replicas"] > updated
        or now["replicas"] - now["updated_replicas"] < (old.replicas or 0) - updated
        or now["ready_replicas"] > (old.ready_replicas or 0)
        or now["available_replicas"] > (old.available_replicas or 0)
    )


type Conditions = tuple[DeploymentCondition, ...]


def _of(conditions: Conditions, kind: str) -> DeploymentCondition | None:
    return next((one for one in conditions if one.type == kind), None)


def _made(now: datetime, kind: str, status: str, reason: str, message: str) -> DeploymentCondition:
    when = now.replace(microsecond=0)
    return DeploymentCondition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_update_time=when,
        last_transition_time=when,
    )


def progressing(now: datetime, status: str, reason: str, message: str) -> DeploymentCondition:
    return _made(now, "Progressing", status, reason, message)


def _with(conditions: Conditions, wanted: DeploymentCondition) -> Conditions:
    """Set a condition. One of the same status and reason stays as it is, also its times."""
    old = _of(conditions, wanted.type)
    if old is not None and (old.status, old.reason) == (wanted.status, wanted.reason):
        return conditions
    if old is not None and old.status == wanted.status:
        wanted = replace(wanted, last_transition_time=old.last_transition_time)
    return (*(one for one in conditions if one.type != wanted.type), wanted)


def _available(state: State, now: Mapping[str, int]) -> DeploymentCondition:
    _, unavailable = limits(state.wanted)
    if now["available_replicas"] >= replicas(state.wanted) - unavailable:
        message = "Deployment has minimum availability."
        return _made(state.now, "Available", "True", "MinimumReplicasAvailable", message)
    message = "Deployment does not have minimum availability."
    return _made(state.now, "Available", "False", "MinimumReplicasUnavailable", message)


def _has_deadline(wanted: Deployment) -> bool:
    return wanted.spec.progress_deadline_seconds not in {None, _NEVER}


def _paused(state: State, conditions: Conditions) -> Conditions:
    """Pausing stops the clock of the deadline, resuming starts it anew; a rollout that timed out has no clock."""
    old = _of(conditions, "Progressing")
    if not _has_deadline(state.wanted) or (old is not None and old.reason == "ProgressDeadlineExceeded"):
        return conditions
    was = old is not None and old.reason == "DeploymentPaused"
    if state.wanted.spec.paused and not was:
        return _with(
            conditions, progressing(state.now, "Unknown", "DeploymentPaused", "Deployment is paused")
        )
    if was and not state.wanted.spec.paused:
        return _with(
            conditions, progressing(state.now, "Unknown", "DeploymentResumed", "Deployment is resumed")
        )
    return conditions


def _progress(state: State, found: Plan, conditions: Conditions, now: Mapping[str, int]) -> Conditions:
    """Whether the rollout is done, goes on, or stands still for too long."""
    wanted = state.wanted
    if not _has_deadline(wanted):
        return tuple(one for one in conditions if one.type != "Progressing")
    current = _of(conditions, "Progressing")
    if current is None and found.new is not None:
        message = f'Found new replica set "{found.new.metadata.name}"'
        current = progressing(state.now, "True", "FoundNewReplicaSet", message)
        conditions = _with(conditions, current)
    done = current is not None and current.reason == "NewReplicaSetAvailable"
    if done and now["replicas"] == now["updated_replicas"]:
        return conditions
    what = (
        f'ReplicaSet "{found.new.metadata.name}"'
        if found.new is not None
        else f'Deployment "{wanted.metadata.name}"'
    )
    if is_complete(wanted, found):
        message = f"{what} has successfully progressed."
        return _with(conditions, progressing(state.now, "True", "NewReplicaSetAvailable", message))
    if _made_progress(wanted, now):
        # The same reason again is news here: the deadline is counted from the last progress.
        fresh = progressing(state.now, "True", "ReplicaSetUpdated", f"{what} is progressing.")
        if current is not None and current.status == "True":
            fresh = replace(fresh, last_transition_time=current.last_transition_time)
        return (*(one for one in conditions if one.type != "Progressing"), fresh)
    if current is not None and not done and _overdue(state, current) <= 0:
        message = f"{what} has timed out progressing."
        return _with(conditions, progressing(state.now, "False", "ProgressDeadlineExceeded", message))
    return conditions


def _overdue(state: State, current: DeploymentCondition) -> float:
    """Seconds until the deadline; not positive when it is over."""
    if current.reason == "ProgressDeadlineExceeded" or current.last_update_time is None:
        return 0.0
    limit = timedelta(seconds=state.wanted.spec.progress_deadline_seconds or 0)
    return (current.last_update_time + limit - state.now).total_seconds()


def _replica_failure(state: State, found: Plan, conditions: Conditions) -> Conditions:
    """What keeps pods from being made, passed on from the replica sets."""
    sets = [found.new, *found.old] if found.new is not None else found.old
    failing = next((c for one in sets for c in one.status.conditions if c.type == "ReplicaFailure"), None)
    if failing is None:
        return tuple(one for one in conditions if one.type != "ReplicaFailure")
    return _with(conditions, _made(state.now, failing.type, failing.status, failing.reason, failing.message))


def status(state: State, found: Plan, progress: DeploymentCondition | None = None) -> Iterable[Action]:
    """Counts and conditions; ``progress`` is what has just been done, and takes the place of looking for progress."""
    wanted = state.wanted
    now = counts(wanted, found)
    conditions = _with(_paused(state, wanted.status.conditions), _available(state, now))
    if progress is not None and _has_deadline(wanted):
        conditions = _with(conditions, progress)
    elif not (
        wanted.spec.paused or is_scaled(wanted, found) or wanted.metadata.deletion_timestamp is not None
    ):
        conditions = _progress(state, found, conditions, now)
        conditions = _replica_failure(state, found, conditions)
    # Zero is written as absent, but for what upstream always writes.
    fields: dict[str, Any] = {key: value or None for key, value in now.items()}
    fields["terminating_replicas"] = now["terminating_replicas"]
    new = replace(wanted.status, **fields, conditions=conditions)
    if new != replace(wanted.status, terminating_replicas=wanted.status.terminating_replicas or 0):
        yield PatchStatus(wanted, replace(wanted, status=new))
    current = _of(conditions, "Progressing")
    if current is None or not _has_deadline(wanted) or wanted.spec.paused:
        return
    if current.reason not in {"NewReplicaSetAvailable", "ProgressDeadlineExceeded"}:
        yield Again(max(_overdue(state, current), 0.0) + 1.0)
