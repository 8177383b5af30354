"""CSIDriver: what Kubernetes has to know of a storage driver."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules.causes import invalid, one_of, too_long
from kybern.api.rules.tables import NONE, UNSET, simple
from kybern.machinery.errors import Cause
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


_POLICIES = ("ReadWriteOnceWithFSType", "File", "None")


def _validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    if len(new["metadata"].get("name", "")) > 63:
        yield too_long("metadata.name", 63)
    spec = new.get("spec") or {}
    for i, token in enumerate(spec.get("tokenRequests") or ()):
        seconds = token.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            at = f"spec.tokenRequests[{i}].expirationSeconds"
            yield invalid(at, seconds, "may not specify a duration less than 10 minutes")
    for mode in spec.get("volumeLifecycleModes") or ():
        yield from one_of("spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
    if spec.get("fsGroupPolicy"):
        yield from one_of("spec.fsGroupPolicy", spec["fsGroupPolicy"], _POLICIES)


_TOKENS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)


def _warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    spec = new.get("spec") or {}
    if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None:
        yield _TOKENS


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
    rules=Rules(default=_default, validate=_validate, warnings=_warnings),
    allow_unconditional_update=False,
    storage_version_hash="hL6j/rwBV5w=",
)
