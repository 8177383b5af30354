"""Which start of a cron job is due, and when to look again; pure.

The rules are upstream's (pkg/controller/cronjob/utils.go): of the starts that were missed only the latest is made up for,
and more than a hundred missed ones are complained about. Counting them one by one could take for ever when a clock was
wrong, so their number is estimated from the distance of the first two. The latest one is exact, where upstream's estimate
finds none for some schedules whose times are not evenly apart.
"""

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from kybern.api.batch_v1 import CronJob
from kybern.machinery import cron

MANY = 100
# What is added to the time of the next look, so that it is not a moment early.
_MARGIN = timedelta(milliseconds=100)


class UnknownZone(ValueError):
    """A time zone that this machine does not know."""


class Endless(ValueError):
    """A schedule with no two times, such as 31 February."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``due`` is the latest start since ``since``, None when there was none; ``missed`` is about how many there were."""

    since: datetime
    due: datetime | None
    missed: int

    @property
    def many(self) -> bool:
        return self.missed > MANY


def zone(name: str) -> tzinfo | None:
    """Of an IANA name; that of this machine for none, as upstream has it. Raises UnknownZone."""
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZone(f"unknown time zone {name}") from None


def split(job: CronJob) -> tuple[str, str]:
    """The schedule and its zone. ``TZ=`` in a schedule, which old objects may have, goes before ``timeZone``."""
    text = job.spec.schedule
    if text.startswith(("TZ=", "CRON_TZ=")):
        named, _, rest = text.partition(" ")
        return rest.strip(), named.partition("=")[2]
    return text, job.spec.time_zone


def plan(
    job: CronJob, schedule: cron.Schedule, where: tzinfo | None, now: datetime, *, deadline: bool
) -> Plan:
    """What is due now. ``deadline``: starts before ``startingDeadlineSeconds`` do not count. Raises Endless."""
    since = job.status.last_schedule_time or job.metadata.creation_timestamp or now
    limit = job.spec.starting_deadline_seconds
    if deadline and limit is not None:
        since = max(since, now - timedelta(seconds=limit))
    first = schedule.after(since, where)
    second = schedule.after(first, where) if first is not None else None
    if first is None or second is None:
        raise Endless("time difference between two schedules is less than 1 second")
    if now < first:
        return Plan(since, None, 0)
    if now < second:
        return Plan(since, first, 1)
    apart = (second - first).total_seconds()
    missed = int((now - first).total_seconds() // apart) + 1
    return Plan(since, schedule.latest(first, now, where), missed)


def wait(job: CronJob, schedule: cron.Schedule, where: tzinfo | None, now: datetime) -> float:
    """Seconds until the next start. Raises Endless when there is none."""
    found = plan(job, schedule, where, now, deadline=False)
    start = found.due or found.since
    upcoming = schedule.after(start, where)
    if upcoming is None:
        raise Endless("the schedule ends")
    return (upcoming + _MARGIN - now).total_seconds()


def stamp(job: CronJob, at: datetime) -> str:
    """A scheduled time as jobs are told it: in the zone of the cron job, else in UTC."""
    shown = at.astimezone(zone(job.spec.time_zone) or UTC)
    return shown.isoformat(timespec="seconds").replace("+00:00", "Z")
