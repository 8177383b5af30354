"""CSIDriver: what Kubernetes has to know of a storage driver."""

from typing import Any

from kybern.api.rules.tables import NONE, UNSET, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules

_COLUMNS = (
    Column("AttachRequired", "boolean"),
    Column("PodInfoOnMount", "boolean"),
    Column("StorageCapacity", "boolean"),
    Column("TokenRequests"),
    Column("RequiresRepublish", "boolean"),
    Column("Modes"),
)


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    tokens = spec.get("tokenRequests")
    return [
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        UNSET if tokens is None else ",".join(token.get("audience", "") for token in tokens),
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
    ]


_DEFAULTS = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
}


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    for key, value in _DEFAULTS.items():
        if spec.get(key) is None:
            spec[key] = value
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    schema="io.k8s.api.storage.v1.CSIDriver",
    singular="csidriver",
    storage="csidrivers",
    table=simple(_COLUMNS, _cells),
    rules=Rules(default=_default),
    allow_unconditional_update=False,
    storage_version_hash="hL6j/rwBV5w=",
)
