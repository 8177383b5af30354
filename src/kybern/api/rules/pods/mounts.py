"""Where a container finds the volumes of its pod."""

from collections.abc import Iterator, Mapping

from kybern.api.rules.causes import forbidden, invalid, not_found, not_supported, required
from kybern.api.rules.paths import below, no_way_up
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_PROPAGATIONS = ("None", "Bidirectional", "HostToContainer")
_READ_ONLY = ("Disabled", "Enabled", "IfPossible")
_PRIVILEGED = "Bidirectional mount propagation is available only to privileged containers"
_BLOCK = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"


def mounts(field: str, container: Raw, volumes: Mapping[str, Raw]) -> Iterator[Cause]:
    devices = container.get("volumeDevices") or ()
    by_name = {device.get("name") for device in devices}
    by_path = {device.get("devicePath") for device in devices}
    seen: set[str] = set()
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        at, name, path = f"{field}[{i}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield required(f"{at}.name")
        if name not in volumes:
            yield not_found(f"{at}.name", name)
        if not path:
            yield required(f"{at}.mountPath")
        if path in seen:
            yield invalid(f"{at}.mountPath", path, "must be unique")
        seen.add(path)
        if name in by_name:
            yield invalid(f"{at}.name", name, "must not already exist in volumeDevices")
        if path in by_path:
            yield invalid(f"{at}.mountPath", path, "must not already exist as a path in volumeDevices")
        yield from _options(field, at, mount, container)


def _options(field: str, at: str, mount: Raw, container: Raw) -> Iterator[Cause]:
    if mount.get("subPath"):
        yield from below(f"{field}.subPath", mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            text = "subPathExpr and subPath are mutually exclusive"
            yield invalid(f"{at}.subPathExpr", mount["subPathExpr"], text)
        yield from below(f"{field}.subPathExpr", mount["subPathExpr"])
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        yield from _propagation(f"{field}.mountPropagation", propagation, container)
    recursive = mount.get("recursiveReadOnly")
    if recursive is not None:
        yield from _recursive(f"{at}.recursiveReadOnly", recursive, mount)


def _propagation(field: str, value: str, container: Raw) -> Iterator[Cause]:
    if value not in _PROPAGATIONS:
        yield not_supported(field, value, _PROPAGATIONS)
    elif value == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        yield forbidden(field, _PRIVILEGED)


def _recursive(field: str, value: str, mount: Raw) -> Iterator[Cause]:
    if value not in _READ_ONLY:
        yield not_supported(field, value, _READ_ONLY)
    elif value != "Disabled" and not mount.get("readOnly"):
        yield forbidden(field, "may only be specified when readOnly is true")
    elif value != "Disabled" and mount.get("mountPropagation", "None") != "None":
        yield forbidden(field, "may only be specified when mountPropagation is None or not specified")


def devices(field: str, container: Raw, volumes: Mapping[str, Raw]) -> Iterator[Cause]:
    """Block devices: only claims can be handed over raw."""
    names: set[str] = set()
    paths: set[str] = set()
    for i, device in enumerate(container.get("volumeDevices") or ()):
        at, name, path = f"{field}[{i}]", device.get("name", ""), device.get("devicePath", "")
        if not name:
            yield required(f"{at}.name")
        if name in names:
            yield invalid(f"{at}.name", name, "must be unique")
        volume = volumes.get(name)
        if volume is None:
            yield not_found(f"{at}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            yield invalid(f"{at}.name", name, _BLOCK)
        if not path:
            yield required(f"{at}.devicePath")
        if path in paths:
            yield invalid(f"{at}.devicePath", path, "must be unique")
        yield from no_way_up(f"{at}.devicePath", path)
        names.add(name)
        paths.add(path)
