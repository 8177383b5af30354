"""API defaults of volumes: those of a pod, and the sources that persistent volumes have in common with them."""

from collections.abc import Callable, Mapping
from typing import Any

from kybern.api.rules.images import pull_policy
from kybern.machinery.kind import Raw

_FILE_MODE = 0o644


def field_ref(raw: Raw) -> None:
    """A reference to a field of the pod, or to a resource of a container."""
    reference = raw.get("fieldRef")
    if reference is not None:
        reference.setdefault("apiVersion", "v1")
    reference = raw.get("resourceFieldRef")
    if reference is not None:
        reference.setdefault("divisor", "0")


def _mode(source: Raw) -> None:
    source.setdefault("defaultMode", _FILE_MODE)


def _downward(source: Raw) -> None:
    _mode(source)
    for item in source.get("items") or ():
        field_ref(item)


def _projected(source: Raw) -> None:
    _mode(source)
    for part in source.get("sources") or ():
        if part.get("serviceAccountToken") is not None:
            part["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        for item in (part.get("downwardAPI") or {}).get("items") or ():
            field_ref(item)


def _ephemeral(source: Raw) -> None:
    template = source.get("volumeClaimTemplate")
    if template is not None:
        template.setdefault("metadata", {})
        claim_spec(template.setdefault("spec", {}))


def _image(source: Raw) -> None:
    if not source.get("pullPolicy"):
        source["pullPolicy"] = pull_policy(source.get("reference", ""))


def claim_spec(spec: Raw) -> None:
    """The defaults of a persistent volume claim's spec."""
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("resources", {})


def _filling(**values: Any) -> Callable[[Raw], None]:
    def fill(source: Raw) -> None:
        for key, value in values.items():
            source.setdefault(key, value)

    return fill


_SHARED: Mapping[str, Callable[[Raw], None]] = {
    "hostPath": _filling(type=""),
    "iscsi": _filling(iscsiInterface="default"),
    "rbd": _filling(pool="rbd", user="admin", keyring="/etc/ceph/keyring"),
    "azureDisk": _filling(cachingMode="ReadWrite", kind="Shared", fsType="ext4", readOnly=False),
    "scaleIO": _filling(storageMode="ThinProvisioned", fsType="xfs"),
}
_OF_PODS: Mapping[str, Callable[[Raw], None]] = {
    **_SHARED,
    "secret": _mode,
    "configMap": _mode,
    "downwardAPI": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
    "image": _image,
}


def default_volume(volume: Raw) -> None:
    """A volume of a pod; one that names no source is an empty directory."""
    sources = [key for key in volume if key != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for key in sources:
        fill = _OF_PODS.get(key)
        if fill is not None and volume[key] is not None:
            fill(volume[key])


def default_source(spec: Raw) -> None:
    """The source of a persistent volume, which stands in its spec beside other fields."""
    for key, fill in _SHARED.items():
        if spec.get(key) is not None:
            fill(spec[key])
