"""Deployments, replica sets, daemon sets and replication controllers: a selector, a template that it selects, a strategy."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import ports
from kybern.api.rules.causes import (
    at_least_zero,
    forbidden,
    invalid,
    not_supported,
    required,
    unchanged,
)
from kybern.api.rules.labels import empty, matches, parses, selector, shown
from kybern.api.rules.pods.spec import template
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_MISMATCH = "`selector` does not match template `labels`"
_NO_DEADLINE = "activeDeadlineSeconds in ReplicaSet is not Supported"


def selecting(field: str, spec: Raw, kind: str) -> Iterator[Cause]:
    """The selector of a workload: present, not empty, and valid."""
    found = spec.get("selector")
    if found is None:
        yield required(f"{field}.selector")
        return
    yield from selector(f"{field}.selector", found)
    if empty(found):
        yield invalid(f"{field}.selector", found, f"empty selector is invalid for {kind}")


def unparsed(field: str, spec: Raw) -> Iterator[Cause]:
    if spec.get("selector") is not None and not parses(spec["selector"]):
        yield invalid(f"{field}.selector", shown(spec["selector"]), "invalid label selector")


def selected(field: str, spec: Raw) -> Iterator[Cause]:
    """The selector selects the pods that are made from the template. One that is no selector selects nothing."""
    metadata = (spec.get("template") or {}).get("metadata") or {}
    found = spec.get("selector")
    if found is not None and (empty(found) or not parses(found)):
        return
    if found is None or not matches(found, metadata.get("labels") or {}):
        yield invalid(f"{field}.template.metadata.labels", metadata.get("labels"), _MISMATCH)


def always(field: str, spec: Raw) -> Iterator[Cause]:
    """Pods of these kinds run for ever."""
    found = (spec.get("template") or {}).get("spec") or {}
    if found.get("restartPolicy") != "Always":
        yield not_supported(
            f"{field}.template.spec.restartPolicy", found.get("restartPolicy", ""), ("Always",)
        )
    if found.get("activeDeadlineSeconds") is not None:
        yield forbidden(f"{field}.template.spec.activeDeadlineSeconds", _NO_DEADLINE)


def _replicated(field: str, spec: Raw) -> Iterator[Cause]:
    """A template for replicas, with the selector that selects it."""
    yield from selected(field, spec)
    yield from template(f"{field}.template", spec.get("template") or {})
    yield from always(field, spec)


def replica_set(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from at_least_zero("spec.replicas", spec.get("replicas"))
    yield from at_least_zero("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from selecting("spec", spec, "deployment")
    yield from unparsed("spec", spec)
    yield from _replicated("spec", spec)
    if old is not None:
        yield from unchanged("spec.selector", spec.get("selector"), (old.get("spec") or {}).get("selector"))


def deployment(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from at_least_zero("spec.replicas", spec.get("replicas"))
    yield from selecting("spec", spec, "deployment")
    yield from unparsed("spec", spec)
    yield from _replicated("spec", spec)
    yield from _strategy("spec.strategy", spec.get("strategy") or {})
    yield from at_least_zero("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from at_least_zero("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    yield from _progress(spec)
    if old is not None:
        yield from unchanged("spec.selector", spec.get("selector"), (old.get("spec") or {}).get("selector"))


def _progress(spec: Raw) -> Iterator[Cause]:
    deadline, at = spec.get("progressDeadlineSeconds"), "spec.progressDeadlineSeconds"
    if deadline is not None:
        yield from at_least_zero(at, deadline)
        if deadline <= (spec.get("minReadySeconds") or 0):
            yield invalid(at, deadline, "must be greater than minReadySeconds")


def shown_strategy(strategy: Raw) -> dict[str, Any]:
    """A strategy as upstream's messages show one."""
    return {"Type": strategy.get("type", ""), "RollingUpdate": strategy.get("rollingUpdate")}


def _strategy(field: str, strategy: Raw) -> Iterator[Cause]:
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                text = "may not be specified when strategy `type` is 'Recreate'"
                yield forbidden(f"{field}.rollingUpdate", text)
        case "RollingUpdate":
            if rolling is None:
                yield required(f"{field}.rollingUpdate", "this should be defaulted and never be nil")
            else:
                yield from _rolling(f"{field}.rollingUpdate", rolling)
        case _:
            yield not_supported(field, shown_strategy(strategy), ("Recreate", "RollingUpdate"))


def _rolling(field: str, rolling: Raw) -> Iterator[Cause]:
    fewer, more = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    yield from ports.amount_or_percent(f"{field}.maxUnavailable", fewer)
    yield from ports.amount_or_percent(f"{field}.maxSurge", more)
    if ports.zero(fewer) and ports.zero(more):
        yield invalid(f"{field}.maxUnavailable", fewer, "may not be 0 when `maxSurge` is 0")
    yield from ports.not_over_all(f"{field}.maxUnavailable", fewer)


def daemon_set(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    found = spec.get("selector")
    if old is not None:
        yield from unchanged("spec.selector", found, (old.get("spec") or {}).get("selector"))
    yield from selector("spec.selector", found)
    metadata = (spec.get("template") or {}).get("metadata") or {}
    if found is None or (parses(found) and not matches(found, metadata.get("labels") or {})):
        yield invalid("spec.template.metadata.labels", metadata.get("labels"), _MISMATCH)
    if found is not None and empty(found):
        yield invalid("spec.selector", found, "empty selector is invalid for daemonset")
    yield from template("spec.template", spec.get("template") or {})
    yield from always("spec", spec)
    yield from at_least_zero("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from _daemon_strategy("spec.updateStrategy", spec.get("updateStrategy") or {})
    yield from at_least_zero("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _daemon_strategy(field: str, strategy: Raw) -> Iterator[Cause]:
    match strategy.get("type"):
        case "OnDelete":
            return
        case "RollingUpdate":
            rolling = strategy.get("rollingUpdate")
            if rolling is None:
                yield required(f"{field}.rollingUpdate")
            else:
                yield from _daemon_rolling(f"{field}.rollingUpdate", rolling)
        case _:
            yield not_supported(field, shown_strategy(strategy), ("RollingUpdate", "OnDelete"))


def _daemon_rolling(field: str, rolling: Raw) -> Iterator[Cause]:
    fewer, more = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    for key, value in (("maxUnavailable", fewer), ("maxSurge", more)):
        yield from ports.amount_or_percent(f"{field}.{key}", value)
        yield from ports.not_over_all(f"{field}.{key}", value)
    if not ports.zero(fewer) and not ports.zero(more):
        yield invalid(f"{field}.maxSurge", more, "may not be set when maxUnavailable is non-zero")
    if ports.zero(fewer) and ports.zero(more):
        yield required(f"{field}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def replication_controller(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from at_least_zero("spec.minReadySeconds", spec.get("minReadySeconds"))
    wanted = spec.get("selector") or {}
    if not wanted:
        yield required("spec.selector")
    yield from at_least_zero("spec.replicas", spec.get("replicas"))
    if spec.get("template") is None:
        yield required("spec.template")
        return
    given = (spec["template"].get("metadata") or {}).get("labels") or {}
    if any(given.get(key) != value for key, value in wanted.items()):
        yield invalid("spec.template.metadata.labels", given, _MISMATCH)
    yield from template("spec.template", spec["template"])
    yield from always("spec", spec)
