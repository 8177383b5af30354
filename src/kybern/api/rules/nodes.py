"""Nodes: taints, pod networks, and amounts of resources."""

import re
from collections.abc import Iterator

from kybern.api.rules.amounts import amount
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from kybern.api.rules.formats import cidr, label_value, qualified_name
from kybern.api.rules.pods.scheduling import EFFECTS
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_FAMILIES = "may specify no more than one CIDR for each IP family"
_LONGEST = 253  # characters of a declared feature's name
_FEATURE = re.compile(r"[A-Z][A-Za-z0-9]*(/[A-Za-z][A-Za-z0-9]*)*")
_NO_FEATURE = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
    "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec, status = new.get("spec") or {}, new.get("status") or {}
    # upstream's path of taints is that of the annotation they once were
    yield from _taints("metadata.taints", spec.get("taints") or [])
    for part in ("capacity", "allocatable"):
        for resource, text in (status.get(part) or {}).items():
            yield from amount(f"status.{part}.{resource}", resource, text)
    yield from _features("status.declaredFeatures", status.get("declaredFeatures") or [])
    yield from _networks("spec.podCIDRs", spec.get("podCIDRs") or [])
    if old is not None:
        yield from _update(spec, old.get("spec") or {})


def _taints(field: str, found: list[Raw]) -> Iterator[Cause]:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(found):
        at, key, value, effect = (
            f"{field}[{i}]",
            taint.get("key", ""),
            taint.get("value", ""),
            taint.get("effect", ""),
        )
        yield from all_invalid(f"{at}.key", key, qualified_name(key))
        if value:
            yield from all_invalid(f"{at}.value", value, label_value(value))
        if not effect:
            yield required(f"{at}.effect")
        elif effect not in EFFECTS:
            yield not_supported(f"{at}.effect", effect, EFFECTS)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            twice = duplicate(at, shown)
            yield Cause(at, twice.reason, f"{twice.message}: taints must be unique by key and effect pair")
        seen.add((key, effect))


def _features(field: str, found: list[str]) -> Iterator[Cause]:
    for i, name in enumerate(found):
        if len(name) > _LONGEST:
            why = f"must be no more than {_LONGEST} characters"
            yield invalid(f"{field}[{i}]", name, f'invalid feature name "{name}": {why}')
        elif not _FEATURE.fullmatch(name):
            yield invalid(f"{field}[{i}]", name, f'invalid feature name "{name}": {_NO_FEATURE}')
        if i and found[i - 1] == name:
            yield duplicate(f"{field}[{i}]", name)
        elif i and found[i - 1] > name:
            yield invalid(f"{field}[{i}]", name, "list must be sorted alphabetically")


def _networks(field: str, found: list[str]) -> Iterator[Cause]:
    wrong = False
    for i, text in enumerate(found):
        complaints = cidr(text)
        yield from all_invalid(f"{field}[{i}]", text, complaints)
        wrong = wrong or bool(complaints)
    if not wrong and (len(found) > 2 or (len(found) == 2 and (":" in found[0]) == (":" in found[1]))):
        yield invalid(field, found, _FAMILIES)


def _update(spec: Raw, old: Raw) -> Iterator[Cause]:
    if old.get("podCIDRs") and spec.get("podCIDRs") != old["podCIDRs"]:
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if old.get("providerID") and spec.get("providerID") != old["providerID"]:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
