"""APIService: who answers for a group and version: this server, or a service behind it."""

from typing import Any

from kybern.api.rules import hookchecks
from kybern.api.rules.hooks import default_port
from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import condition, dig, simple
from kybern.machinery import names
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _who(raw: Raw) -> list[Any]:
    service = dig(raw, "spec", "service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    found = condition(raw, "Available") or {}
    state = found.get("status", "Unknown")
    if state != "True" and found.get("reason"):
        state = f"{state} ({found['reason']})"
    return [where, state]


_LOCAL = {
    "type": "Available",
    "status": "True",
    "reason": "Local",
    "message": "Local APIServices are always available",
}


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_port(spec.get("service"))
    for key in ("groupPriorityMinimum", "versionPriority"):
        spec.setdefault(key, 0)
    raw.setdefault("status", {})


def _on_create(raw: Raw) -> None:
    raw["status"] = {}
    if not dig(raw, "spec", "service"):
        now = raw["metadata"].get("creationTimestamp")
        raw["status"] = {"conditions": [{**_LOCAL, "lastTransitionTime": now}]}


KIND = Kind(
    group="apiregistration.k8s.io",
    version="v1",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    schema="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    singular="apiservice",
    categories=("api-extensions",),
    storage="apiregistration.k8s.io/apiservices",
    subresources=(status("APIService", "apiregistration.k8s.io"),),
    table=simple((Column("Service"), Column("Available")), _who),
    rules=Rules(
        default=_default, on_create=_on_create, validate=hookchecks.api_service, on_status=keep_metadata
    ),
    allow_unconditional_update=False,
    valid_name=names.path_segment,
    storage_version_hash="InPBPD7+PqM=",
)
