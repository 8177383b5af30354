"""Node: a machine that runs pods."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, UNKNOWN, age, condition, dig, name, wide
from kybern.machinery.kind import Column, Kind, Raw, Subresource, Table

_ROLE_PREFIX = "node-role.kubernetes.io/"
_COLUMNS = (
    NAME,
    Column("Status"),
    Column("Roles"),
    AGE,
    Column("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
)

_SELECTABLE = {
    "spec.unschedulable": lambda raw: "true" if dig(raw, "spec", "unschedulable") else "false",
}


def _status(raw: Raw) -> str:
    ready = condition(raw, "Ready")
    word = {"True": "Ready"}.get(ready.get("status", ""), "NotReady") if ready else "Unknown"
    return word + ",SchedulingDisabled" if dig(raw, "spec", "unschedulable") else word


def _roles(raw: Raw) -> str:
    found = set()
    for key, value in (dig(raw, "metadata", "labels") or {}).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            found.add(key.removeprefix(_ROLE_PREFIX))
        elif key == "kubernetes.io/role" and value:
            found.add(value)
    return ",".join(sorted(found)) or NONE


def _address(raw: Raw, kind: str) -> str:
    for found in dig(raw, "status", "addresses") or ():
        if found.get("type") == kind:
            return str(found.get("address", ""))
    return NONE


def _cells(raw: Raw, now: float) -> list[Any]:
    info = dig(raw, "status", "nodeInfo") or {}
    kernel = info.get("kernelVersion") or UNKNOWN
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    return [
        name(raw),
        _status(raw),
        _roles(raw),
        age(raw, now),
        info.get("kubeletVersion", ""),
        _address(raw, "InternalIP"),
        _address(raw, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


KIND = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    namespaced=False,
    schema="io.k8s.api.core.v1.Node",
    singular="node",
    short_names=("no",),
    storage="minions",
    subresources=(
        Subresource(
            "proxy",
            "NodeProxyOptions",
            verbs=(
                "create",
                "delete",
                "get",
                "patch",
                "update",
            ),
        ),
        status("Node"),
    ),
    selectable=_SELECTABLE,
    table=Table(_COLUMNS, _cells),
    storage_version_hash="XwShjMxG9Fs=",
)
