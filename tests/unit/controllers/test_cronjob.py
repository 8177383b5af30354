"""Cron jobs: what is started, what is said, what is cleaned up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kybern.api.batch_v1 import (
    CronJob,
    CronJobSpec,
    CronJobStatus,
    Job,
    JobCondition,
    JobSpec,
    JobStatus,
    JobTemplateSpec,
)  # fmt: skip
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import cronjob
from kybern.controllers.cronjob import State
from kybern.controllers.cronjob.status import SCHEDULED, job_for
from kybern.loop.controller import Again, Create, Delete, Emit, Failure, Key, Measure, PatchStatus
from kybern.loop.owners import controller_reference
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace
from tests.unit.controllers.making import NOW, ago, every, only, view

HOUR = timedelta(hours=1)
JUST_NOW = ago(90)


def cron(created: datetime = JUST_NOW, last: datetime | None = None, **spec: Any) -> CronJob:
    """At every full hour, and it is exactly noon."""
    template = JobTemplateSpec(
        metadata=ObjectMeta(labels={"app": "cron"}, annotations={"k": "v"}), spec=JobSpec(parallelism=2)
    )
    wanted = {"schedule": "0 * * * *", "job_template": template, "concurrency_policy": "Allow"}
    return CronJob(
        metadata=ObjectMeta(name="tick", namespace="a", uid="uid-tick", creation_timestamp=created),
        spec=CronJobSpec(**{**wanted, **spec}),
        status=CronJobStatus(last_schedule_time=last),
    )


def run(of: CronJob, at: datetime, end: str = "", done: datetime | None = None) -> Job:
    """The job that was started at a time; ``end`` is the condition it ended with."""
    made = job_for(of, at)
    conditions = (JobCondition(type=end, status="True"),) if end else ()
    return replace(
        made,
        metadata=replace(made.metadata, uid=f"uid-{at:%d%H%M}"),
        status=JobStatus(start_time=at, conditions=conditions, completion_time=done),
    )


def after(of: CronJob, *jobs: Job, gone: tuple[str, ...] = (), now: datetime = NOW) -> list[Any]:
    return every(cronjob.diff(State(of, jobs, frozenset(gone), now)))


def status(actions: list[Any], of: CronJob) -> CronJobStatus:
    found: list[CronJobStatus] = [action.new.status for action in only(actions, PatchStatus)]
    return found[0] if found else of.status


def reasons(actions: list[Any]) -> list[str]:
    return [action.reason for action in only(actions, Emit)]


def known(of: CronJob, *jobs: Job) -> CronJob:
    """The cron job whose status has heard of these jobs."""
    return replace(of, status=status(after(of, *jobs, now=ago(3600 * 24)), of))


def test_what_is_due_is_started_under_the_name_of_its_minute() -> None:
    actions = after(cron())
    (made,) = [action.object for action in only(actions, Create)]

    assert made.metadata.name == f"tick-{int(NOW.timestamp()) // 60}"
    assert made.metadata.labels == {"app": "cron"}
    assert made.metadata.annotations == {"k": "v", SCHEDULED: "2026-01-01T12:00:00Z"}
    assert made.metadata.owner_references == (controller_reference(cron()),)
    assert made.spec.parallelism == 2
    assert only(actions, Emit)[-1].message == f"Created job {made.metadata.name}"
    assert only(actions, Again) == [Again(3600.1)]
    assert only(actions, Measure) == [
        Measure("cronjob_controller_job_creation_skew_duration_seconds", value=0.0)
    ]


def test_the_annotation_is_in_the_zone_of_the_cron_job() -> None:
    (action,) = only(after(cron(time_zone="Asia/Kolkata", schedule="30 17 * * *")), Create)

    assert action.object.metadata.annotations[SCHEDULED] == "2026-01-01T17:30:00+05:30"


def test_nothing_is_started_before_its_time() -> None:
    actions = after(cron(created=ago(60)), now=ago(30))

    assert (only(actions, Create), only(actions, Again)) == ([], [Again(30.1)])


def test_what_was_started_is_entered_into_the_status() -> None:
    of = cron()
    actions = after(of, run(of, NOW))

    assert [one.name for one in status(actions, of).active] == [run(of, NOW).metadata.name]
    assert status(actions, of).last_schedule_time == NOW
    assert (only(actions, Create), reasons(actions)) == ([], [])


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_a_job_that_ended_is_not_active_any_more(end: str) -> None:
    of = known(cron(), run(cron(), NOW))
    actions = after(of, run(of, NOW, end, NOW + HOUR / 2))

    assert status(actions, of).active == ()
    assert status(actions, of).last_successful_time == (NOW + HOUR / 2 if end == "Complete" else None)
    (event,) = only(actions, Emit)
    assert (event.reason, event.message) == (
        "SawCompletedJob",
        f"Saw completed job: {run(of, NOW).metadata.name}, condition: {end}",
    )


def test_a_job_that_ended_before_it_was_noticed_is_not_started_again() -> None:
    of = cron(successful_jobs_history_limit=0)
    actions = after(of, run(of, NOW, "Complete", NOW))

    assert [type(action) for action in actions] == [PatchStatus, Emit, Delete, Emit, Again]
    assert status(actions, of).last_schedule_time == NOW
    assert reasons(actions) == ["SawCompletedJob", "SuccessfulDelete"]


def test_an_active_job_that_is_gone_is_forgotten() -> None:
    of = known(cron(), run(cron(), NOW))
    actions = after(of, gone=(run(of, NOW).metadata.uid,))

    assert (status(actions, of).active, reasons(actions)) == ((), ["MissingJob"])


def test_that_a_job_is_gone_is_asked_of_the_server() -> None:
    of = known(cron(), run(cron(), NOW))
    controller = cronjob.controller(Settings())
    there = view(controller, of, live=lambda _question: run(of, NOW))
    not_there = view(controller, of, live=lambda _question: None)

    found = [controller.observe(one, Key("a", "tick")) for one in (there, not_there)]

    assert [one.gone for one in found if one is not None] == [frozenset(), {run(of, NOW).metadata.uid}]


def test_somebody_elses_job_is_noticed_and_does_not_count() -> None:
    of = cron(last=NOW)
    manual = Job(metadata=ObjectMeta(name="manual", uid="m", owner_references=(controller_reference(of),)))
    actions = after(of, manual)

    assert (status(actions, of).active, reasons(actions)) == ((), ["UnexpectedJob"])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("Allow", ["SuccessfulCreate"]),
        ("Forbid", ["JobAlreadyActive"]),
        ("Replace", ["SuccessfulDelete", "SuccessfulCreate"]),
    ],
)
def test_what_runs_still_when_the_next_is_due(policy: str, expected: list[str]) -> None:
    of = cron(created=ago(7200), concurrency_policy=policy)
    running = run(of, NOW - HOUR)
    of = known(of, running)

    actions = after(of, running)

    assert reasons(actions) == expected
    assert len(only(actions, Create)) == (policy != "Forbid")
    assert [action.object for action in only(actions, Delete)] == [running] * (policy == "Replace")


def test_a_job_that_is_being_replaced_is_not_active() -> None:
    of = cron(last=NOW - HOUR)
    going = run(of, NOW - HOUR)
    going = replace(going, metadata=replace(going.metadata, deletion_timestamp=NOW))

    assert status(after(of, going), of).active == ()


@pytest.mark.parametrize("missed", [1, 2, 99, 1000])
def test_of_what_was_missed_the_latest_is_made_up_for(missed: int) -> None:
    of = cron(created=NOW - HOUR * (missed - 1) - HOUR / 2)
    actions = after(of, now=NOW + HOUR / 4)

    assert [action.object.metadata.annotations[SCHEDULED] for action in only(actions, Create)] == [
        "2026-01-01T12:00:00Z"
    ]
    assert ("TooManyMissedTimes" in reasons(actions)) == (missed > 100)
    assert only(actions, Again) == [Again(2700.1)]


def test_uneven_times_are_made_up_for() -> None:
    of = cron(schedule="0 8,9 * * *", created=datetime(2025, 12, 25, tzinfo=UTC))
    (action,) = only(after(of), Create)

    assert action.object.metadata.annotations[SCHEDULED] == "2026-01-01T09:00:00Z"


@pytest.mark.parametrize(("deadline", "started"), [(None, 1), (600, 0), (1200, 1)])
def test_a_start_is_given_up_after_its_deadline(deadline: int | None, started: int) -> None:
    of = cron(created=NOW - HOUR * 3, starting_deadline_seconds=deadline)
    actions = after(of, now=NOW + timedelta(minutes=15))

    assert len(only(actions, Create)) == started
    assert only(actions, Again) == [Again(2700.1)]


def test_history_is_kept_as_long_as_asked() -> None:
    of = cron(last=NOW, successful_jobs_history_limit=2, failed_jobs_history_limit=1)
    good = [run(of, NOW - HOUR * hours, "Complete", NOW) for hours in (1, 2, 3)]
    bad = [run(of, NOW - HOUR * hours, "Failed") for hours in (4, 5, 6)]

    actions = after(of, *good, *bad)

    assert [action.object for action in only(actions, Delete)] == [good[2], bad[2], bad[1]]
    assert reasons(actions) == ["SuccessfulDelete"] * 3


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"schedule": "nonsense"},
            "UnparseableSchedule",
            'unparseable schedule: "nonsense" : expected exactly',
        ),
        ({"schedule": "0 0 31 2 *"}, "InvalidSchedule", "invalid schedule: 0 0 31 2 * : time difference"),
        ({"time_zone": "Mars/One"}, "UnknownTimeZone", 'invalid timeZone: "Mars/One": unknown time zone'),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_complained_about(
    spec: dict[str, Any], reason: str, message: str
) -> None:
    actions = after(cron(**spec))
    (event,) = only(actions, Emit)

    assert (event.type, event.reason) == ("Warning", reason)
    assert event.message.startswith(message)
    assert only(actions, Again) == []


def test_a_zone_in_the_schedule_of_an_old_object_is_followed() -> None:
    actions = after(cron(schedule="TZ=Asia/Kolkata 30 17 * * *"))

    assert reasons(actions) == ["UnsupportedSchedule", "SuccessfulCreate"]


@pytest.mark.parametrize("how", ["suspended", "deleted"])
def test_nothing_starts_when_it_must_not(how: str) -> None:
    of = cron(suspend=how == "suspended")
    deleted = NOW if how == "deleted" else None
    of = replace(of, metadata=replace(of.metadata, deletion_timestamp=deleted))

    assert {type(action) for action in after(of, run(of, NOW))} == {PatchStatus}
    assert status(after(of, run(of, NOW)), of).last_schedule_time == NOW


def test_a_job_that_was_refused_is_complained_about_at_the_next_try() -> None:
    refused = Failure(Create(run(cron(), NOW)), Forbidden("no"))
    actions = every(cronjob.diff(State(cron(), (), frozenset(), NOW, refused)))

    assert reasons(actions) == ["FailedCreate", "SuccessfulCreate"]
    assert only(actions, Emit)[0].message == "Error creating job: no"


def test_it_comes_to_rest() -> None:
    of = cron()
    jobs = (run(of, NOW), run(of, NOW - HOUR, "Complete", NOW))
    settled = known(of, *jobs)

    (again,) = after(settled, *jobs)

    assert isinstance(again, Again)
