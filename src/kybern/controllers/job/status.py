"""Whether a job is to end and how, and what its status says; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.batch_v1 import Job, JobCondition, JobStatus
from kybern.controllers.job.count import Tally, is_indexed
from kybern.controllers.job.indexes import shown
from kybern.controllers.job.policy import succeeded_by
from kybern.loop.jobs import condition
from kybern.machinery.struct import replace

type Events = list[tuple[str, str, str]]

_TOO_MANY = "Too many succeeded pods running after completion count reached"
_TARGETS = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


@dataclass(frozen=True, slots=True)
class End:
    """The condition that says that a job will end, and why."""

    target: str
    reason: str
    message: str


def deadline(job: Job, now: datetime) -> float | None:
    """Seconds that a job may still be active; None without a limit."""
    limit, since = job.spec.active_deadline_seconds, job.status.start_time
    if limit is None or job.spec.suspend:
        return None
    return max(limit - (now - since).total_seconds(), 0.0) if since is not None else float(limit)


def outcome(tally: Tally, now: datetime) -> End | None:
    """What a job ends with, once that is sure. The first that was decided stays."""
    for target in ("FailureTarget", "SuccessCriteriaMet"):
        decided = condition(tally.job, target)
        if decided is not None:
            return End(target, decided.reason, decided.message)
    return _failure(tally, now) or _success(tally)


def _failure(tally: Tally, now: datetime) -> End | None:
    job = tally.job
    fatal = next((one for one in tally.verdicts.values() if one.action == "FailJob"), None)
    if fatal is not None:
        return End("FailureTarget", "PodFailurePolicy", fatal.message)
    limit = 6 if job.spec.backoff_limit is None else job.spec.backoff_limit
    if tally.failed > limit or _restarted(tally, limit):
        text = "Job has reached the specified backoff limit"
        return End("FailureTarget", "BackoffLimitExceeded", text)
    if job.status.start_time is not None and deadline(job, now) == 0:
        text = "Job was active longer than specified deadline"
        return End("FailureTarget", "DeadlineExceeded", text)
    return _failed_indexes(tally)


def _failed_indexes(tally: Tally) -> End | None:
    spec, failed = tally.job.spec, len(tally.failed_indexes)
    if spec.max_failed_indexes is not None and failed > spec.max_failed_indexes:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return End("FailureTarget", "MaxFailedIndexesExceeded", text)
    if failed and failed + len(tally.indexes) >= (spec.completions or 0):
        return End("FailureTarget", "FailedIndexes", "Job has failed indexes")
    return None


def _restarted(tally: Tally, limit: int) -> bool:
    """Containers that start again in the same pod count, too."""
    if tally.job.spec.template.spec.restart_policy != "OnFailure":
        return False
    count = sum(
        one.restart_count or 0
        for pod in tally.pods
        if pod.status.phase in {"Running", "Pending"}
        for one in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    return count > 0 if limit == 0 else count >= limit


def _success(tally: Tally) -> End | None:
    rule = succeeded_by(tally.job, tally.indexes)
    if rule is not None:
        return End("SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {rule}")
    wanted = tally.job.spec.completions
    enough = tally.succeeded > 0 if wanted is None else tally.succeeded >= wanted
    if enough and not tally.active:
        text = "Reached expected number of succeeded pods"
        return End("SuccessCriteriaMet", "CompletionsReached", text)
    return None


def _made(kind: str, status: str, reason: str, message: str, now: datetime) -> JobCondition:
    when = now.replace(microsecond=0)
    return JobCondition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_probe_time=when,
        last_transition_time=when,
    )


def told(tally: Tally, end: End | None, now: datetime) -> tuple[JobStatus, Events]:
    """The status, and what there is to tell about it."""
    job = tally.job
    events: Events = []
    status = _counted(tally)
    if end is None:
        return _suspended(job, status, now, events), events
    if status.start_time is None:
        status = replace(status, start_time=now.replace(microsecond=0))
    if condition(job, end.target) is None:
        status = _with(status, _made(end.target, "True", end.reason, end.message, now))
    over = not (tally.active or tally.terminating or tally.uncounted.succeeded or tally.uncounted.failed)
    # Pods that are still to be freed of their finalizer without being noted: their turn comes first.
    if over and not any(True for _ in tally.releasable()):
        kind = _TARGETS[end.target]
        status = _with(status, _made(kind, "True", end.reason, end.message, now))
        if kind == "Complete":
            status = replace(status, completion_time=now.replace(microsecond=0))
            if job.spec.completions is not None and (status.succeeded or 0) > job.spec.completions:
                events.append(("Warning", "TooManySucceededPods", _TOO_MANY))
            events.append(("Normal", "Completed", "Job completed"))
        else:
            events.append(("Warning", end.reason, end.message))
    return status, events


def _counted(tally: Tally) -> JobStatus:
    job = tally.job
    return replace(
        job.status,
        active=len(tally.active) or None,
        ready=tally.ready,
        terminating=len(tally.terminating),
        succeeded=tally.counted_succeeded or None,
        failed=tally.counted_failed or None,
        completed_indexes=shown(tally.indexes) if is_indexed(job) else "",
        failed_indexes=shown(tally.failed_indexes),
        uncounted_terminated_pods=tally.uncounted,
    )


def _suspended(job: Job, status: JobStatus, now: datetime, events: Events) -> JobStatus:
    """Suspending stops the clock of the deadline, resuming starts it anew."""
    before = next((one for one in status.conditions if one.type == "Suspended"), None)
    was = before is not None and before.status == "True"
    if job.spec.suspend:
        if was:
            return status
        events.append(("Normal", "Suspended", "Job suspended"))
        status = replace(status, start_time=None)
        return _with(status, _made("Suspended", "True", "JobSuspended", "Job suspended", now))
    if was:
        events.append(("Normal", "Resumed", "Job resumed"))
        status = _with(status, _made("Suspended", "False", "JobResumed", "Job resumed", now))
    if was or status.start_time is None:
        status = replace(status, start_time=now.replace(microsecond=0))
    return status


def _with(status: JobStatus, new: JobCondition) -> JobStatus:
    others: Iterable[JobCondition] = (one for one in status.conditions if one.type != new.type)
    return replace(status, conditions=(*others, new))
