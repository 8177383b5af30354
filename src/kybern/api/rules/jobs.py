"""Jobs and cron jobs: how often a pod must succeed, what its failures mean, and when it starts."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from kybern.api.rules import schedules, within
from kybern.api.rules.causes import (
    all_invalid,
    at_least_zero,
    invalid,
    not_supported,
    one_of,
    required,
    unchanged,
)
from kybern.api.rules.formats import domain_path
from kybern.api.rules.indexes import count_of
from kybern.api.rules.labels import matches, selector, shown
from kybern.api.rules.pods.spec import template
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_UID = "batch.kubernetes.io/controller-uid"
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_INDEXED = "requires indexed completion mode"
_RESTARTS = ("OnFailure", "Never")
_MISMATCH = "`selector` does not match template `labels`"


def job(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    if old is None:
        yield from _generated(new, spec)
        yield from _whole(spec)
        return
    # upstream checks a changed job as a job, and once more as a change
    yield from _whole(spec)
    yield from _whole(spec)
    yield from _update(spec, old)


def _whole(spec: Raw) -> Iterator[Cause]:
    yield from _spec("spec", spec)
    yield from _selecting(spec)


def _generated(new: Raw, spec: Raw) -> Iterator[Cause]:
    """The selector that the server makes is the only one, unless the user wants their own."""
    found = spec.get("selector")
    if spec.get("manualSelector") or found is None:
        return
    wanted = {"matchLabels": {_UID: new["metadata"].get("uid", "")}}
    if found != wanted:
        yield invalid("spec.selector", shown(found), "`selector` not auto-generated")


def _selecting(spec: Raw) -> Iterator[Cause]:
    found, metadata = spec.get("selector"), (spec.get("template") or {}).get("metadata") or {}
    if found is None:
        yield required("spec.selector")
        found = {}
        selects = False
    else:
        yield from selector("spec.selector", found)
        selects = matches(found, metadata.get("labels") or {})
    if not selects:
        yield invalid("spec.template.metadata.labels", metadata.get("labels"), _MISMATCH)


def _spec(field: str, spec: Raw) -> Iterator[Cause]:
    for key in _COUNTS:
        yield from at_least_zero(f"{field}.{key}", spec.get(key))
    if spec.get("managedBy") is not None:
        yield from all_invalid(f"{field}.managedBy", spec["managedBy"], domain_path(spec["managedBy"]))
    yield from _completion(field, spec)
    yield from _failures(f"{field}.podFailurePolicy", spec.get("podFailurePolicy"))
    yield from _success(f"{field}.successPolicy", spec)
    yield from _replacing(field, spec)
    yield from template(f"{field}.template", spec.get("template") or {})
    yield from _restart(field, spec)


def _restart(field: str, spec: Raw) -> Iterator[Cause]:
    """Pods of a job end."""
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy", "")
    at = f"{field}.template.spec.restartPolicy"
    if policy in ("", "Always"):
        yield required(at, 'valid values: "OnFailure", "Never"')
    elif policy not in _RESTARTS:
        yield not_supported(at, policy, _RESTARTS)
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid(at, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _completion(field: str, spec: Raw) -> Iterator[Cause]:
    mode = spec.get("completionMode")
    if mode == "Indexed":
        if spec.get("completions") is None:
            yield required(f"{field}.completions", "when completion mode is Indexed")
        if (spec.get("parallelism") or 0) > 100000:
            text = "must be less than or equal to 100000 when completion mode is Indexed"
            yield invalid(f"{field}.parallelism", spec["parallelism"], text)
    elif mode == "NonIndexed":
        yield from _not_indexed(field, spec)
    elif mode is not None:
        yield not_supported(f"{field}.completionMode", mode, ("NonIndexed", "Indexed"))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield required(f"{field}.backoffLimitPerIndex", "when maxFailedIndexes is specified")


def _not_indexed(field: str, spec: Raw) -> Iterator[Cause]:
    for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(key) is not None:
            yield invalid(f"{field}.{key}", spec[key], _INDEXED)


def _replacing(field: str, spec: Raw) -> Iterator[Cause]:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return
    choices = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    if policy not in choices:
        yield not_supported(f"{field}.podReplacementPolicy", policy, choices)


def _failures(field: str, policy: Raw | None) -> Iterator[Cause]:
    for i, rule in enumerate((policy or {}).get("rules") or ()):
        at, action = f"{field}.rules[{i}]", rule.get("action", "")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if not action:
            yield required(f"{at}.action", 'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]')
        elif action not in _ACTIONS:
            yield not_supported(f"{at}.action", action, _ACTIONS)
        if codes is not None:
            yield from _exit_codes(f"{at}.onExitCodes", codes)
        for j, pattern in enumerate(conditions):
            states = ("False", "True", "Unknown")
            yield from one_of(f"{at}.onPodConditions[{j}].status", pattern.get("status"), states)
        if codes is not None and conditions:
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            yield invalid(at, rule, text)
        elif codes is None and not conditions:
            yield Cause(
                at,
                "FieldValueInvalid",
                "Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            )


def _exit_codes(field: str, codes: Raw) -> Iterator[Cause]:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    yield from one_of(f"{field}.operator", operator, ("In", "NotIn"))
    if not values:
        yield invalid(f"{field}.values", values, "at least one value is required")
    for i, value in enumerate(values):
        if operator == "In" and value == 0:
            yield invalid(f"{field}.values[{i}]", value, "must not be 0 for the In operator")
        if value in values[:i]:
            yield Cause(f"{field}.values[{i}]", "FieldValueDuplicate", f"Duplicate value: {value}")
    if values != sorted(values):
        yield invalid(f"{field}.values", values, "must be ordered")


def _success(field: str, spec: Raw) -> Iterator[Cause]:
    policy = spec.get("successPolicy")
    if policy is None:
        return
    if spec.get("completionMode") != "Indexed":
        yield invalid(field, within.shown("SuccessPolicy", policy), _INDEXED)
        return
    rules = policy.get("rules") or []
    if not rules:
        yield required(
            f"{field}.rules", "at least one rules must be specified when the successPolicy is specified"
        )
    for i, rule in enumerate(rules):
        yield from _success_rule(f"{field}.rules[{i}]", rule, spec.get("completions") or 0)


def _success_rule(field: str, rule: Raw, completions: int) -> Iterator[Cause]:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        yield required(field, "at least one of succeededCount or succeededIndexes must be specified")
    known = 0
    if indexes is not None:
        try:
            known = count_of(indexes, completions)
        except ValueError as wrong:
            yield invalid(f"{field}.succeededIndexes", indexes, f"error parsing succeededIndexes: {wrong}")
    if count is None:
        return
    at = f"{field}.succeededCount"
    yield from at_least_zero(at, count)
    if count > completions:
        yield invalid(
            at, count, f"must be less than or equal to {completions} (the number of specified completions)"
        )
    if indexes is not None and count > known:
        text = f"must be less than or equal to {known} (the number of indexes in the specified succeededIndexes field)"
        yield invalid(at, count, text)


def _update(spec: Raw, job: Raw) -> Iterator[Cause]:
    """Of a job that is there."""
    old = job.get("spec") or {}
    yield from _completions(spec, old)
    yield from unchanged("spec.selector", spec.get("selector"), old.get("selector"))
    yield from _same_template(spec, job)
    for key in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        show = partial(within.shown, "SuccessPolicy") if key == "successPolicy" else None
        yield from unchanged(f"spec.{key}", spec.get(key), old.get(key), show)


def _completions(spec: Raw, old: Raw) -> Iterator[Cause]:
    """The completions of an indexed job follow its parallelism."""
    new, was = spec.get("completions"), old.get("completions")
    if old.get("completionMode") != "Indexed" or new is None or was is None:
        yield from unchanged("spec.completions", new, was)
    elif new != was and new != spec.get("parallelism"):
        yield invalid("spec.completions", new, "can only be modified in tandem with spec.parallelism")


def _same_template(spec: Raw, old: Raw) -> Iterator[Cause]:
    """While none of its pods run, what decides where they run, and what they ask for, may still change."""
    before = old.get("spec") or {}
    new, was = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and _at_rest(old.get("status") or {}):
        new, was = _placed_freely(new), _placed_freely(was)
    yield from unchanged("spec.template", new, was, partial(within.shown, "PodTemplateSpec"))


def _at_rest(status: Raw) -> bool:
    """Whether a suspended job never started, or its pods are gone (KEP-5440)."""
    told = [one for one in status.get("conditions") or () if one.get("type") == "Suspended"]
    return not status.get("startTime") or (
        not status.get("active") and any(one.get("status") == "True" for one in told)
    )


def _placed_freely(found: Raw) -> dict[str, Any]:
    """What stays the same: all but directives of scheduling and the containers' resources."""
    keys = ("nodeSelector", "affinity", "tolerations", "schedulingGates")
    spec = {key: value for key, value in (found.get("spec") or {}).items() if key not in keys}
    for name in ("initContainers", "containers"):
        if name in spec:
            spec[name] = [{k: v for k, v in one.items() if k != "resources"} for one in spec[name] or ()]
    return {"spec": spec}


def cron_job(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if not schedule:
        yield required("spec.schedule")
    else:
        yield from schedules.schedule("spec.schedule", schedule)
    if spec.get("startingDeadlineSeconds") is not None:
        yield from at_least_zero("spec.startingDeadlineSeconds", spec["startingDeadlineSeconds"])
    if zone is not None:
        yield from schedules.zone("spec.timeZone", zone)
    policies = ("Allow", "Forbid", "Replace")
    if not spec.get("concurrencyPolicy"):
        yield required("spec.concurrencyPolicy")
    else:
        yield from one_of("spec.concurrencyPolicy", spec["concurrencyPolicy"], policies)
    yield from _job_template("spec.jobTemplate.spec", (spec.get("jobTemplate") or {}).get("spec") or {})
    for key in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from at_least_zero(f"spec.{key}", spec.get(key))


def _job_template(field: str, spec: Raw) -> Iterator[Cause]:
    yield from _spec(field, spec)
    if spec.get("selector") is not None:
        yield invalid(f"{field}.selector", spec["selector"], "`selector` will be auto-generated")
    if spec.get("manualSelector"):
        yield not_supported(f"{field}.manualSelector", True, ("nil", "false"))
