"""What can be said about a job from its status; pure."""

from kybern.api.batch_v1 import Job, JobCondition


def condition(job: Job, type: str) -> JobCondition | None:  # noqa: A002  # the API's word
    """The condition of a type, when it is true."""
    return next((one for one in job.status.conditions if one.type == type and one.status == "True"), None)


def finished(job: Job) -> JobCondition | None:
    """The condition that says how a job has ended."""
    return condition(job, "Complete") or condition(job, "Failed")
