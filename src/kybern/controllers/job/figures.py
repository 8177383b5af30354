"""What a job adds to the metrics of its controller, by upstream's names; pure."""

from collections.abc import Iterable, Sequence

from kybern.api.batch_v1 import Job, JobStatus
from kybern.controllers.job.count import Tally
from kybern.controllers.job.indexes import parsed
from kybern.loop.controller import Action, Create, Delete, Measure, PatchStatus

_ENDING = frozenset({"SuccessCriteriaMet", "FailureTarget", "Complete", "Failed"})
_ENDS = (("Complete", "succeeded"), ("Failed", "failed"))


def measured(job: Job, status: JobStatus) -> Iterable[Measure]:
    """What another status says that the job's did not: pods and indexes that are over, and that the job itself is."""
    mode = job.spec.completion_mode or "NonIndexed"
    for result, now, before in (
        ("succeeded", status.succeeded, job.status.succeeded),
        ("failed", status.failed, job.status.failed),
    ):
        more = (now or 0) - (before or 0)
        if more > 0:
            yield Measure("job_controller_job_pods_finished_total", (mode, result), more)
    yield from _indexes(job, status)
    known = {one.type for one in job.status.conditions if one.status == "True"}
    for kind, result in _ENDS:
        end = next((one for one in status.conditions if one.type == kind and one.status == "True"), None)
        if end is not None and kind not in known:
            yield Measure("job_controller_jobs_finished_total", (mode, result, end.reason))


def _indexes(job: Job, status: JobStatus) -> Iterable[Measure]:
    limit = "perIndex" if job.spec.backoff_limit_per_index is not None else "global"
    count = job.spec.completions or 0
    for result, now, before in (
        ("succeeded", status.completed_indexes, job.status.completed_indexes),
        ("failed", status.failed_indexes, job.status.failed_indexes),
    ):
        more = len(parsed(now, count)) - len(parsed(before, count))
        if more > 0:
            yield Measure("job_controller_job_finished_indexes_total", (result, limit), more)


def creation_reason(tally: Tally) -> str:
    """Why pods are made: because there were none, or in the place of others."""
    if tally.failed and tally.job.spec.pod_replacement_policy == "Failed":
        return "recreate_failed"
    return "recreate_terminating_or_failed" if tally.failed or tally.terminating else "new"


def synced(job: Job, actions: Sequence[Action], *, succeeded: bool, seconds: float) -> Iterable[Measure]:
    """One round for a job, and the seconds that it took."""
    result = "success" if succeeded else "error"
    labels = job.spec.completion_mode or "NonIndexed", result, sync_action(job, actions)
    yield Measure("job_controller_job_syncs_total", labels)
    yield Measure("job_controller_job_sync_duration_seconds", labels, seconds)


def sync_action(job: Job, actions: Sequence[Action]) -> str:
    """What a round did, in upstream's words: of a job that ends or is deleted, its pods are not what it is about."""
    status = next(
        (one.new.status for one in actions if isinstance(one, PatchStatus) and isinstance(one.new, Job)),
        job.status,
    )
    if job.metadata.deletion_timestamp or any(
        one.type in _ENDING and one.status == "True" for one in status.conditions
    ):
        return "reconciling"
    if any(isinstance(one, Create) for one in actions):
        return "pods_created"
    return "pods_deleted" if any(isinstance(one, Delete) for one in actions) else "tracking"
