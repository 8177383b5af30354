"""Job: pods that run until enough of them have succeeded."""

from typing import Any

from kybern.api.rules import jobs
from kybern.api.rules.formats import label_value
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
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
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

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


_UID = "batch.kubernetes.io/controller-uid"
_OLD_UID = "controller-uid"
_NAME = "batch.kubernetes.io/job-name"
_OLD_NAME = "job-name"


def default_job(spec: Raw) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    for key, value in (("parallelism", 1), ("completionMode", "NonIndexed"), ("suspend", False)):
        spec.setdefault(key, value)
    per_index = spec.get("backoffLimitPerIndex") is not None
    spec.setdefault("backoffLimit", 2147483647 if per_index else 6)
    policy = spec.get("podFailurePolicy")
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed")
    spec.setdefault("manualSelector", False)
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_template(spec)
    default_job(spec)
    labels = spec["template"]["metadata"].get("labels")
    metadata = raw.setdefault("metadata", {})
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    raw.setdefault("status", {})


def _on_create(raw: Raw) -> None:
    """A job selects its pods by its own uid, unless someone insists on a selector of theirs."""
    spec, metadata = raw["spec"], raw["metadata"]
    if spec.get("manualSelector"):
        return
    own = {
        _UID: metadata["uid"],
        _OLD_UID: metadata["uid"],
        _NAME: metadata["name"],
        _OLD_NAME: metadata["name"],
    }
    template = spec["template"]["metadata"]
    given = template.get("labels") or {}
    # Upstream's defaults let a job without labels share those of its template, so that it gets these, too. A name that
    # is no label is told of the template alone.
    named = not any(label_value(metadata["name"]))
    if (metadata.get("labels") or {}) == given and (given or named):
        metadata["labels"] = {**given, **own}
    template["labels"] = {**given, **own}
    chosen = spec.setdefault("selector", {})
    chosen["matchLabels"] = {**(chosen.get("matchLabels") or {}), _UID: metadata["uid"]}


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
    rules=Rules(default=_default, on_create=_on_create, validate=jobs.job, warnings=warnings.named_workload),
    storage_version_hash="mudhfqk/qZY=",
    generation=wish_changed,
)
