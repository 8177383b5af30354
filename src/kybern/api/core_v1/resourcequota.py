"""ResourceQuota: how much of what a namespace may have in all."""

from typing import Any

from kybern.api.rules import limits
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _shares(raw: Raw) -> list[Any]:
    hard, used = dig(raw, "status", "hard") or {}, dig(raw, "status", "used") or {}
    found: tuple[list[str], list[str]] = ([], [])
    for key in sorted(hard):
        found[key.startswith("limits.")].append(f"{key}: {used.get(key, '0')}/{hard[key]}")
    return [", ".join(found[0]), ", ".join(found[1])]


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})
    raw.setdefault("status", {})


KIND = Kind(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    namespaced=True,
    schema="io.k8s.api.core.v1.ResourceQuota",
    singular="resourcequota",
    short_names=("quota",),
    storage="resourcequotas",
    subresources=(status("ResourceQuota"),),
    table=simple((Column("Request"), Column("Limit")), _shares),
    rules=Rules(default=_default, validate=limits.quota),
    storage_version_hash="8uhSgffRX6w=",
)
