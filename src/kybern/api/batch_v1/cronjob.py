"""CronJob: jobs at given times."""

from typing import Any

from kybern.api.rules import jobs
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, UNSET, age, containers, dig, name, selector, since, wide
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("Schedule"),
    Column("Timezone"),
    Column("Suspend", "boolean"),
    Column("Active", "integer"),
    Column("Last Schedule"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    suspend, last = spec.get("suspend"), status_.get("lastScheduleTime")
    job = dig(spec, "jobTemplate", "spec") or {}
    return [
        name(raw),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if suspend is None else str(bool(suspend)),
        len(status_.get("active") or ()),
        since(last, now) if last else NONE,
        age(raw, now),
        *containers(job.get("template")),
        selector(job.get("selector")),
    ]


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    spec.setdefault("suspend", False)
    job = spec.setdefault("jobTemplate", {})
    job.setdefault("metadata", {})
    default_template(job.setdefault("spec", {}))
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    raw.setdefault("status", {})


KIND = Kind(
    group="batch",
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    namespaced=True,
    schema="io.k8s.api.batch.v1.CronJob",
    singular="cronjob",
    short_names=("cj",),
    categories=("all",),
    storage="cronjobs",
    subresources=(status("CronJob", "batch"),),
    table=Table(_COLUMNS, _cells),
    rules=Rules(default=_default, validate=jobs.cron_job, warnings=warnings.cron_job),
    storage_version_hash="sd5LIXh4Fjs=",
    generation=wish_changed,
)
