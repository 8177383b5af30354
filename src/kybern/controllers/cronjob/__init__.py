"""Make a job whenever a cron job's schedule comes due, and keep as many of the finished ones as are asked for.

Reads CronJob, Job. Writes Job, CronJob.status. When a start is due is in ``timing``, what jobs tell is in ``status``.

A round says first what it sees (so that no start is forgotten with the job that stood for it), then removes, then makes a
job; the next round, which the new job brings about, enters it into the status. A start that was missed for longer than
``startingDeadlineSeconds`` is given up; of several the latest is made up for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kybern.api.batch_v1 import CronJob, Job
from kybern.controllers.cronjob.status import job_for, surplus, told
from kybern.controllers.cronjob.timing import Endless, UnknownZone, plan, split, wait, zone
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
    PatchStatus,
    View,
)  # fmt: skip
from kybern.loop.settings import Settings
from kybern.machinery import cron
from kybern.machinery.struct import replace

_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
_ACTIVE = "Not starting job because prior execution is running and concurrency policy is Forbid"
_ZONED = (
    "CRON_TZ or TZ used in schedule {} is not officially supported, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)


@dataclass(frozen=True, slots=True)
class State:
    job: CronJob
    children: tuple[Job, ...]
    # Uids of jobs in status.active that the API server does not have.
    gone: frozenset[str]
    now: datetime
    failure: Failure | None = None


def observe(view: View, key: Key) -> State | None:
    found = view.get(CronJob, *key)
    if found is None:
        return None
    children = tuple(sorted(view.owned(Job, found), key=lambda job: job.metadata.name))
    known = {child.metadata.uid for child in children}
    gone = set()
    for one in found.status.active:
        if one.uid not in known:
            live = view.live(Job, one.namespace, one.name)
            if live is None or live.metadata.uid != one.uid:
                gone.add(one.uid)
    return State(found, children, frozenset(gone), view.now, view.failure)


def diff(state: State) -> Iterable[Action]:
    old = state.job
    status, events = told(old, state.children, state.gone)
    job = replace(old, status=status)
    if status != old.status:
        yield PatchStatus(old, job)
    yield from (Emit(job, kind, reason, message) for kind, reason, message in events)
    for child in surplus(job, state.children):
        yield from _remove(job, child)
    if job.metadata.deletion_timestamp is None and not job.spec.suspend:
        yield from _run(job, state)


def _remove(job: CronJob, child: Job) -> Iterable[Action]:
    yield Delete(child)
    yield Emit(job, "Normal", "SuccessfulDelete", f"Deleted job {child.metadata.name}")


def _run(job: CronJob, state: State) -> Iterable[Action]:
    """Start what is due, or say why not; a schedule that cannot be followed is not looked at before it changes."""
    text, name = split(job)
    if "TZ" in job.spec.schedule:
        yield Emit(job, "Warning", "UnsupportedSchedule", _ZONED.format(_quoted(job.spec.schedule)))
    try:
        where = zone(name)
        schedule = cron.parse(text)
        found = plan(job, schedule, where, state.now, deadline=True)
        again = wait(job, schedule, where, state.now)
    except UnknownZone as wrong:
        yield Emit(job, "Warning", "UnknownTimeZone", f"invalid timeZone: {_quoted(name)}: {wrong}")
        return
    except Endless as wrong:
        yield Emit(job, "Warning", "InvalidSchedule", f"invalid schedule: {job.spec.schedule} : {wrong}")
        return
    except ValueError as wrong:
        text = f"unparseable schedule: {_quoted(job.spec.schedule)} : {wrong}"
        yield Emit(job, "Warning", "UnparseableSchedule", text)
        return
    if found.due is not None:
        if found.many:
            yield Emit(job, "Warning", "TooManyMissedTimes", _MANY)
        yield from _start(job, found.due, state)
    yield Again(again)


def _start(job: CronJob, due: datetime, state: State) -> Iterable[Action]:
    limit = job.spec.starting_deadline_seconds
    if limit is not None and due + timedelta(seconds=limit) < state.now:
        text = f"Missed scheduled time to start a job: {due:%a, %d %b %Y %H:%M:%S} UTC"
        yield Emit(job, "Warning", "MissSchedule", text)
        return
    made = job_for(job, due)
    active = job.status.active
    if job.status.last_schedule_time == due or any(one.name == made.metadata.name for one in active):
        return
    if job.spec.concurrency_policy == "Forbid" and active:
        yield Emit(job, "Normal", "JobAlreadyActive", _ACTIVE)
        return
    if job.spec.concurrency_policy == "Replace":
        uids = {one.uid for one in active}
        for child in state.children:
            if child.metadata.uid in uids:
                yield from _remove(job, child)
    if state.failure is not None and isinstance(state.failure.action, Create):
        text = f"Error creating job: {state.failure.error.message}"
        yield Emit(job, "Warning", "FailedCreate", text)
    yield Create(made)
    late = max((state.now - due).total_seconds(), 0.0)
    yield Measure("cronjob_controller_job_creation_skew_duration_seconds", value=late)
    yield Emit(job, "Normal", "SuccessfulCreate", f"Created job {made.metadata.name}")


def _quoted(text: str) -> str:
    return f'"{text}"'


def controller(_settings: Settings) -> Controller[State]:
    return Controller("cronjob-controller", CronJob, observe, diff, owns=(Job,))
