"""Job: pods that run until enough of them have succeeded."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import (
    AGE,
    NAME,
    age,
    condition,
    containers,
    deleting,
    dig,
    name,
    seconds,
    selector,
    wide,
)
from kybern.machinery.duration import human
from kybern.machinery.kind import Column, Kind, Raw, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("Status"),
    Column("Completions"),
    Column("Duration"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
)
_SELECTABLE = {"status.successful": lambda raw: str(dig(raw, "status", "succeeded") or 0)}


def _holds(raw: Raw, kind: str) -> bool:
    found = condition(raw, kind)
    return found is not None and found.get("status") == "True"


def _status(raw: Raw) -> str:
    for kind in ("Complete", "Failed"):
        if _holds(raw, kind):
            return kind
    if deleting(raw):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if _holds(raw, kind):
            return kind
    return "Running"


def _completions(raw: Raw) -> str:
    spec, succeeded = raw.get("spec") or {}, dig(raw, "status", "succeeded") or 0
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallel = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"


def _duration(raw: Raw, now: float) -> str:
    start, end = dig(raw, "status", "startTime"), dig(raw, "status", "completionTime")
    if not start:
        return ""
    return human((seconds(end) if end else now) - seconds(start))


def _cells(raw: Raw, now: float) -> list[Any]:
    spec = raw.get("spec") or {}
    return [
        name(raw),
        _status(raw),
        _completions(raw),
        _duration(raw, now),
        age(raw, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


KIND = Kind(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    namespaced=True,
    schema="io.k8s.api.batch.v1.Job",
    singular="job",
    categories=("all",),
    storage="jobs",
    subresources=(status("Job", "batch"),),
    selectable=_SELECTABLE,
    table=Table(_COLUMNS, _cells),
    storage_version_hash="mudhfqk/qZY=",
    generation=wish_changed,
)
