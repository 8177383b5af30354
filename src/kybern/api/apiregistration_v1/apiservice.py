"""APIService: who answers for a group and version: this server, or a service behind it."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import condition, dig, simple
from kybern.machinery.kind import Column, Kind, Raw


def _who(raw: Raw) -> list[Any]:
    service = dig(raw, "spec", "service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    found = condition(raw, "Available") or {}
    state = found.get("status", "Unknown")
    if state != "True" and found.get("reason"):
        state = f"{state} ({found['reason']})"
    return [where, state]


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
    storage_version_hash="InPBPD7+PqM=",
)
