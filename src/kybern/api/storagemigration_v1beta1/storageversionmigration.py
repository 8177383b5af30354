"""StorageVersionMigration: a wish that all objects of a resource be written anew, as they would be stored today.

Served only when it is switched on (KEP-4192): ``--runtime-config`` and the feature gate StorageVersionMigrator.
"""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules.causes import IMMUTABLE, all_invalid, invalid, required, unchanged
from kybern.api.rules.conditions import conditions
from kybern.api.rules.formats import dns1035, subdomain
from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table

GATE = "StorageVersionMigrator"


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {}).setdefault("resource", {})
    raw.setdefault("status", {})
    for part in ("group", "resource"):
        raw["spec"]["resource"].setdefault(part, "")


def _cells(raw: Raw, _now: float) -> list[Any]:
    resource, group = dig(raw, "spec", "resource", "resource") or "", dig(raw, "spec", "resource", "group")
    return [name(raw), f"{resource}.{group}" if group else resource]


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    asked = dig(new, "spec", "resource") or {}
    resource, group = asked.get("resource") or "", asked.get("group") or ""
    if not resource:
        yield required("spec.resource.resource", "resource is required to be set")
    else:
        yield from all_invalid("spec.resource.resource", resource, _joined(dns1035(resource)))
    if group:
        yield from all_invalid("spec.resource.group", group, _joined(subdomain(group)))
    if old is not None:
        yield from unchanged("spec", new.get("spec"), old.get("spec"))


def _joined(found: tuple[str, ...]) -> tuple[str, ...]:
    """Upstream tells all that is wrong with a name in one cause."""
    return (",".join(found),) if found else ()


def _validate_status(new: Raw, old: Raw | None) -> Iterator[Cause]:
    fresh, stored = new.get("status") or {}, (old or {}).get("status") or {}
    version, was = fresh.get("resourceVersion") or "", stored.get("resourceVersion") or ""
    # Upstream refuses an empty one, too, and so cannot say that a migration failed before it began.
    if version and (not version.isascii() or not version.isdigit() or version.startswith("0")):
        yield invalid("status.resourceVersion", version, f"resource version is not well formed: {version}")
    found = fresh.get("conditions") or []
    yield from conditions("status.conditions", found)
    if was and version != was:
        yield invalid("status.resourceVersion", version, IMMUTABLE)
    for wrong in _contradictions(_true(fresh), _true(stored)):
        yield invalid("status.conditions", found, wrong)


def _true(found: Raw) -> set[str]:
    return {one.get("type", "") for one in found.get("conditions") or () if one.get("status") == "True"}


def _contradictions(now: set[str], before: set[str]) -> Iterator[str]:
    if {"Succeeded", "Failed"} <= now:
        yield "Both success and failed conditions cannot be true at the same time"
    for ended, word in (("Succeeded", "success"), ("Failed", "failed")):
        if {ended, "Running"} <= now:
            yield f"Running condition cannot be true when {word} condition is true"
    for ended, word in (("Succeeded", "Success"), ("Failed", "Failed")):
        if ended in before and ended not in now:
            yield f"{word} condition cannot be set to false once it is true"


KIND = Kind(
    group="storagemigration.k8s.io",
    version="v1beta1",
    kind="StorageVersionMigration",
    plural="storageversionmigrations",
    namespaced=False,
    schema="io.k8s.api.storagemigration.v1beta1.StorageVersionMigration",
    singular="storageversionmigration",
    storage="storageversionmigrations",
    subresources=(status("StorageVersionMigration", "storagemigration.k8s.io", "v1beta1"),),
    table=Table((Column("Name"), Column("Resource")), _cells),
    rules=Rules(
        default=_default, on_status=keep_metadata, validate=_validate, validate_status=_validate_status
    ),
    allow_unconditional_update=False,
    storage_version_hash="pCjmmKOkLy4=",
)
