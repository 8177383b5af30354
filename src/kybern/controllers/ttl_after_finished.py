"""Delete jobs that have been finished for as long as they ask for (``ttlSecondsAfterFinished``).

Reads Job. Writes Job (deletion in the foreground: pods first). The time counts from the transition of the condition that
says how the job ended. Before it is deleted the API server is asked once more, since the time may have been raised.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kybern.api.batch_v1 import Job
from kybern.loop.controller import Action, Again, Controller, Delete, Key, Measure, View
from kybern.loop.jobs import finished
from kybern.loop.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    job: Job
    now: datetime


def observe(view: View, key: Key) -> State | None:
    job = view.get(Job, *key)
    if job is None or expiry(job) is None:
        return None
    if left(job, view.now) <= 0:
        job = view.live(Job, *key)
    return State(job, view.now) if job is not None and expiry(job) is not None else None


def expiry(job: Job) -> datetime | None:
    """When a job is to go; None when it is not to, or is going already."""
    end, ttl = finished(job), job.spec.ttl_seconds_after_finished
    if end is None or ttl is None or end.last_transition_time is None or job.metadata.deletion_timestamp:
        return None
    return end.last_transition_time + timedelta(seconds=ttl)


def left(job: Job, now: datetime) -> float:
    """Seconds until then."""
    at = expiry(job)
    return (at - now).total_seconds() if at is not None else float("inf")


def diff(state: State) -> Iterable[Action]:
    seconds = left(state.job, state.now)
    if seconds > 0:
        yield Again(seconds)
    else:
        yield Delete(state.job, propagation="Foreground")
        yield Measure("ttl_after_finished_controller_job_deletion_duration_seconds", value=-seconds)


def controller(_settings: Settings) -> Controller[State]:
    return Controller("ttl-after-finished-controller", Job, observe, diff)
