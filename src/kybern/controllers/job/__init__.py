"""Run pods until enough of them have succeeded, or too many have failed.

Reads Job, Pod. Writes Pod, Job.status. How pods are counted is in ``count``, which pods are made in ``plan``.

A job ends in two steps. First a condition says that it will (SuccessCriteriaMet, FailureTarget), and its pods are ended;
when all have ended and are counted, Complete or Failed says that it has. So whoever sees Complete or Failed sees final
numbers. A round writes the status before it takes finalizers away and before it makes or ends pods.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from kybern.api.batch_v1 import Job
from kybern.api.core_v1 import Pod
from kybern.controllers.job.count import FINALIZER, Tally, is_tracked
from kybern.controllers.job.figures import creation_reason, measured, synced
from kybern.controllers.job.plan import Plan, plan
from kybern.controllers.job.status import deadline, outcome, told
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Create,
    Delete,
    Emit,
    Failure,
    Key,
    Measure,
    Patch,
    PatchStatus,
    View,
)  # fmt: skip
from kybern.loop.jobs import finished
from kybern.loop.owners import Claim, claim, controller_of, controller_reference, orphaned, selector_of
from kybern.loop.pods import is_active, is_terminal
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

_OURS = "kubernetes.io/job-controller"
_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class State:
    # None when the job is gone, or another's to run.
    job: Job | None
    claim: Claim[Pod]
    # Pods that bear the finalizer, of a job that is gone.
    stray: tuple[Pod, ...]
    now: datetime
    failure: Failure | None = None


def tracked(pod: Pod) -> Iterable[str]:
    """Index: pods that bear the finalizer, by the name of their job."""
    if is_tracked(pod):
        owner = controller_of(pod)
        name = owner.name if owner is not None and owner.kind == "Job" else pod.metadata.labels.get(_NAME, "")
        yield f"{pod.metadata.namespace}/{name}"


def observe(view: View, key: Key) -> State | None:
    job = view.get(Job, *key)
    if job is not None and job.spec.managed_by not in {"", _OURS}:
        return None
    if job is None:
        return State(None, Claim((), (), ()), _stray(view, key, None, ()), view.now)
    if job.spec.selector is None:
        return None
    orphans = filter(is_active, view.index(Pod, "orphan", key.namespace))
    found = claim(job, selector_of(job.spec.selector), view.owned(Pod, job), orphans)
    if found.adoptable:
        # One that is being deleted, which the cache may not know yet, must not adopt.
        fresh = view.live(Job, *key)
        if fresh is None or fresh.metadata.uid != job.metadata.uid or fresh.metadata.deletion_timestamp:
            return None
    return State(job, found, _stray(view, key, job, found.adoptable), view.now, view.failure)


def _stray(view: View, key: Key, job: Job | None, adoptable: tuple[Pod, ...]) -> tuple[Pod, ...]:
    uid = job.metadata.uid if job is not None else ""
    return tuple(
        pod
        for pod in view.index(Pod, "job", f"{key.namespace}/{key.name}")
        if getattr(controller_of(pod), "uid", None) != uid and pod not in adoptable
    )


def free(pod: Pod) -> Action:
    """Take the finalizer away."""
    left = tuple(one for one in pod.metadata.finalizers if one != FINALIZER)
    return Patch(pod, replace(pod, metadata=replace(pod.metadata, finalizers=left)))


def _settle(job: Job, found: Claim[Pod]) -> Iterable[Action]:
    """Adopt and let go; the finalizer comes and goes with the owner."""
    for pod in found.adoptable:
        references = (*pod.metadata.owner_references, controller_reference(job))
        marks = tuple(dict.fromkeys((*pod.metadata.finalizers, FINALIZER)))
        yield Patch(
            pod,
            replace(pod, metadata=replace(pod.metadata, owner_references=references, finalizers=marks)),
        )
    for pod in found.released:
        references = tuple(one for one in pod.metadata.owner_references if one.uid != job.metadata.uid)
        marks = tuple(one for one in pod.metadata.finalizers if one != FINALIZER)
        yield Patch(
            pod,
            replace(pod, metadata=replace(pod.metadata, owner_references=references, finalizers=marks)),
        )


def diff(state: State) -> Iterable[Action]:
    yield from map(free, state.stray)
    job = state.job
    if job is None:
        return
    yield from _settle(job, state.claim)
    if state.claim.adoptable:
        return
    if finished(job) is not None:
        yield from (free(pod) for pod in state.claim.mine if is_tracked(pod))
    elif job.metadata.deletion_timestamp is not None:
        over = (pod for pod in state.claim.mine if is_terminal(pod) or pod.metadata.deletion_timestamp)
        yield from (free(pod) for pod in over if is_tracked(pod))
    else:
        yield from _run(job, state)


def _run(job: Job, state: State) -> Iterable[Action]:
    tally = Tally(job, state.claim.mine)
    end = outcome(tally, state.now)
    if end is not None:
        tally = Tally(job, state.claim.mine, end.target)
    status, events = told(tally, end, state.now)
    if status != job.status:
        yield PatchStatus(job, replace(job, status=status))
        yield from measured(job, status)
    yield from (Emit(job, kind, reason, message) for kind, reason, message in events)
    for pod in tally.releasable():
        yield free(pod)
        if tally.verdicts[pod.metadata.uid].message:
            action = tally.verdicts[pod.metadata.uid].action
            yield Measure("job_controller_pod_failures_handled_by_failure_policy_total", (action,))
    if end is None:
        found = plan(tally, state.now)
        yield from (free(pod) for pod in found.delete if is_tracked(pod))
    else:
        found = Plan(delete=list(tally.active))
    yield from _carry_out(job, tally, state.failure, found)
    left = deadline(job, state.now)
    if end is None and left is not None:
        yield Again(left + 0.1)


def _carry_out(job: Job, tally: Tally, failure: Failure | None, found: Plan) -> Iterable[Action]:
    if found.create and failure is not None and isinstance(failure.action, Create):
        yield Emit(job, "Warning", "FailedCreate", f"Error creating: {failure.error.message}")
    yield from map(Create, found.create)
    if found.create:
        labels = creation_reason(tally), "succeeded"
        yield Measure("job_controller_job_pods_creation_total", labels, len(found.create))
    for pod in found.create:
        yield Emit(job, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")
    yield from map(Delete, found.delete)
    for pod in found.delete:
        yield Emit(job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
    if found.again is not None:
        yield Again(found.again + 0.1)


def ended(state: State, actions: Sequence[Action], succeeded: bool, seconds: float) -> Iterable[Measure]:
    """What a round is told as: nothing of jobs that are gone or over, as upstream."""
    job = state.job
    if job is not None and finished(job) is None:
        yield from synced(job, actions, succeeded=succeeded, seconds=seconds)


def matching(pod: Pod, view: View) -> Iterable[Key]:
    """A pod that nobody controls wakes whoever might adopt it, and whoever frees it of its finalizer."""
    if controller_of(pod) is None:
        for one in view.list(Job, pod.metadata.namespace):
            if one.spec.selector is not None and selector_of(one.spec.selector).matches(pod.metadata.labels):
                yield Key(one.metadata.namespace, one.metadata.name)
        for name in tracked(pod):
            yield Key(pod.metadata.namespace, name.partition("/")[2])


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "job-controller",
        Job,
        observe,
        diff,
        owns=(Pod,),
        watches=((Pod, matching),),
        indexes=((Pod, "orphan", orphaned), (Pod, "job", tracked)),
        told=ended,
    )
