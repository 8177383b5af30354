"""What the jobs of a cron job say about it; pure.

A job bears its scheduled time in its name and in an annotation. So what the status has to say of it follows from the
job: a controller that ends between making a job and saying so leaves nothing that the next one cannot see.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from kybern.api.batch_v1 import CronJob, CronJobStatus, Job
from kybern.api.core_v1 import ObjectReference
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.events import reference
from kybern.controllers.cronjob.timing import stamp
from kybern.loop.jobs import condition, finished
from kybern.loop.owners import controller_reference
from kybern.machinery.struct import replace

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"

type Events = list[tuple[str, str, str]]

_FIRST = datetime.min.replace(tzinfo=UTC)


def job_name(of: CronJob, at: datetime) -> str:
    """Upstream's: with the minutes since 1970, so that one start makes one job whoever makes it."""
    return f"{of.metadata.name}-{int(at.timestamp()) // 60}"


def scheduled(of: CronJob, job: Job) -> datetime | None:
    """The start that a job was made for; None when it was made by somebody else."""
    try:
        at = datetime.fromisoformat(job.metadata.annotations.get(SCHEDULED, ""))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo and job.metadata.name == job_name(of, at) else None


def job_for(of: CronJob, at: datetime) -> Job:
    template = of.spec.job_template
    return Job(
        metadata=ObjectMeta(
            name=job_name(of, at),
            namespace=of.metadata.namespace,
            labels=template.metadata.labels,
            annotations={**template.metadata.annotations, SCHEDULED: stamp(of, at)},
            owner_references=(controller_reference(of),),
        ),
        spec=template.spec,
    )


def told(of: CronJob, jobs: Iterable[Job], gone: frozenset[str]) -> tuple[CronJobStatus, Events]:
    """The status by what its jobs say. ``gone`` are uids of active jobs that the API server does not have."""
    events: Events = []
    status = of.status
    active = {one.uid: one for one in status.active}
    for uid in active.keys() & gone:
        events.append(("Normal", "MissingJob", f"Active job went missing: {active.pop(uid).name}"))
    for job in jobs:
        fresh = _is_fresh(of, job)
        events += _entered(of, job, active, fresh=fresh)
        if fresh:
            status = replace(
                status, last_schedule_time=_latest(status.last_schedule_time, scheduled(of, job))
            )
        if condition(job, "Complete") is not None:
            latest = _latest(status.last_successful_time, job.status.completion_time)
            status = replace(status, last_successful_time=latest)
    return replace(status, active=tuple(active.values())), events


def _entered(of: CronJob, job: Job, active: dict[str, ObjectReference], *, fresh: bool) -> Events:
    """Add a job to those that are active, or take it out."""
    uid, name = job.metadata.uid, job.metadata.name
    end = finished(job)
    if end is not None:
        seen = active.pop(uid, None) is not None or fresh
        return [("Normal", "SawCompletedJob", f"Saw completed job: {name}, condition: {end.type}")] * seen
    if job.metadata.deletion_timestamp is not None:
        return []
    if scheduled(of, job) is not None:
        active.setdefault(uid, reference(job))
    elif uid not in active:
        text = f"Saw a job that the controller did not create or forgot: {name}"
        return [("Warning", "UnexpectedJob", text)]
    return []


def _is_fresh(of: CronJob, job: Job) -> bool:
    """Whether a job was started and the status does not know yet."""
    at = scheduled(of, job)
    return at is not None and at > (of.status.last_schedule_time or _FIRST)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)


def surplus(of: CronJob, jobs: Iterable[Job]) -> Iterable[Job]:
    """Finished jobs beyond the limits of the history, the oldest first."""
    limits = (
        ("Complete", of.spec.successful_jobs_history_limit),
        ("Failed", of.spec.failed_jobs_history_limit),
    )
    known = tuple(jobs)
    for kind, limit in limits:
        if limit is not None:
            ended = [job for job in known if (end := finished(job)) is not None and end.type == kind]
            ended.sort(
                key=lambda job: (job.status.start_time or datetime.max.replace(tzinfo=UTC), job.metadata.name)
            )
            old = ended[: max(len(ended) - limit, 0)]
            yield from (job for job in old if job.metadata.deletion_timestamp is None)
