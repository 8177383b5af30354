"""Node: a machine that runs pods."""

from typing import Any

from kybern.api.rules import nodes
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, UNKNOWN, age, condition, dig, name, wide
from kybern.machinery.kind import Column, Kind, Raw, Rules, Subresource, Table

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


_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    if spec.get("podCIDR") and (spec.get("podCIDRs") or [""])[0] != spec["podCIDR"]:
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    status_ = raw.setdefault("status", {})
    if status_.get("capacity") and status_.get("allocatable") is None:
        status_["allocatable"] = dict(status_["capacity"])
    for found in status_.get("conditions") or ():
        found.setdefault("lastHeartbeatTime", None)
        found.setdefault("lastTransitionTime", None)
    status_.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
    info = status_.setdefault("nodeInfo", {})
    for key in _INFO:
        info.setdefault(key, "")


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
    rules=Rules(default=_default, validate=nodes.validate),
    status_on_create=True,
    storage_version_hash="XwShjMxG9Fs=",
)
