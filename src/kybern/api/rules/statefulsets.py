"""Stateful sets. Only a few fields of one may change; who wants others makes a new one."""

from collections.abc import Iterator

from kybern.api.rules import claims, within
from kybern.api.rules.causes import (
    at_least_zero,
    forbidden,
    invalid,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.labels import matches, parses, selector
from kybern.api.rules.pods.spec import template
from kybern.api.rules.workloads import shown_strategy
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_MISMATCH = "`selector` does not match template `labels`"
_POLICIES = ("OrderedReady", "Parallel")


def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from _management(spec)
    yield from _strategy("spec.updateStrategy", spec.get("updateStrategy") or {})
    yield from _retention("spec.persistentVolumeClaimRetentionPolicy", spec)
    yield from at_least_zero("spec.replicas", spec.get("replicas"))
    yield from at_least_zero("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from at_least_zero("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    yield from _selecting(spec)
    yield from _template(spec)
    for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        yield from claims.spec(f"spec.volumeClaimTemplates[{i}].spec", claim.get("spec") or {})
    if old is not None:
        yield from _unchanged(spec, old.get("spec") or {})


def _management(spec: Raw) -> Iterator[Cause]:
    policy = spec.get("podManagementPolicy", "")
    if not policy:
        yield required("spec.podManagementPolicy")
    elif policy not in _POLICIES:
        yield invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")


def _strategy(field: str, strategy: Raw) -> Iterator[Cause]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if not kind:
        yield required(field)
    elif kind == "OnDelete":
        if rolling is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            shown = within.shown("RollingUpdateStatefulSetStrategy", rolling)
            yield invalid(f"{field}.rollingUpdate", shown, text)
    elif kind == "RollingUpdate":
        yield from at_least_zero(f"{field}.rollingUpdate.partition", (rolling or {}).get("partition"))
    else:
        yield invalid(field, shown_strategy(strategy), "must be 'RollingUpdate' or 'OnDelete'")


def _retention(field: str, spec: Raw) -> Iterator[Cause]:
    policy = spec.get("persistentVolumeClaimRetentionPolicy")
    for moment in ("whenDeleted", "whenScaled"):
        if policy is not None:
            yield from one_of(f"{field}.{moment}", policy.get(moment), ("Retain", "Delete"))


def _selecting(spec: Raw) -> Iterator[Cause]:
    found = spec.get("selector")
    if found is None:
        yield required("spec.selector")
        return
    yield from selector("spec.selector", found)
    if not (found.get("matchLabels") or found.get("matchExpressions")):
        yield invalid("spec.selector", found, "empty selector is invalid for statefulset")


def _template(spec: Raw) -> Iterator[Cause]:
    found = spec.get("template") or {}
    yield from _matching(spec.get("selector"), found)
    yield from template("spec.template", _with_claims(spec, found))
    policy = (found.get("spec") or {}).get("restartPolicy", "")
    if policy != "Always":
        yield not_supported("spec.template.spec.restartPolicy", policy, ("Always",))
    if (found.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in StatefulSet is not Supported"
        yield forbidden("spec.template.spec.activeDeadlineSeconds", text)


def _matching(wanted: Raw | None, found: Raw) -> Iterator[Cause]:
    given = (found.get("metadata") or {}).get("labels")
    if wanted is None or (wanted and parses(wanted) and not matches(wanted, given or {})):
        yield invalid("spec.template.metadata.labels", given, _MISMATCH)


def _with_claims(spec: Raw, found: Raw) -> Raw:
    """The template with a volume for every claim template, as the pods will have them."""
    names = [
        (claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates") or ()
    ]
    pod = found.get("spec") or {}
    own = [volume for volume in pod.get("volumes") or () if volume.get("name") not in names]
    claimed = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
    return {**found, "spec": {**pod, "volumes": [*claimed, *own]}}


def _unchanged(spec: Raw, old: Raw) -> Iterator[Cause]:
    fixed = (spec.keys() | old.keys()).difference(_MUTABLE)
    if any((spec.get(key) or None) != (old.get(key) or None) for key in fixed):
        yield forbidden("spec", _FORBIDDEN)
