"""Objects as upstream's messages show them when they come from its unversioned types: those have no JSON names.

Some messages print such an object, or the difference of two of them. A type is written as its fields in order: a bare name
is a string, ``?`` marks what may be nothing, ``:int``, ``:bool`` and ``:quantity`` are plain, other names are types of this
table, held by value, by pointer (``*``) or in a list (``[]``). ``Name=json`` is a field whose JSON name does not follow from
its own. ``@`` stands for metadata, whose fields have JSON names and are shown among the others.
"""

import difflib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kybern.api.rules import withinpods

_TYPES: Mapping[str, str] = {
    **withinpods.TYPES,
    "CustomResourceDefinitionVersion": (
        "Name Served:bool Storage:bool Deprecated:bool DeprecationWarning? Schema? Subresources? "
        "AdditionalPrinterColumns? SelectableFields?"
    ),
    "DeviceClaim": "Requests:[]DeviceRequest Constraints? Config?",
    "DeviceRequest": "Name Exactly:*ExactDeviceRequest FirstAvailable?",
    "ExactDeviceRequest": (
        "DeviceClassName Selectors? AllocationMode Count:int AdminAccess? Tolerations? Capacity?"
    ),
    "ObjectReference": "Kind Namespace Name UID APIVersion ResourceVersion FieldPath",
    "PersistentVolumeClaimSpec": (
        "AccessModes? Selector? Resources:VolumeResourceRequirements VolumeName StorageClassName? VolumeMode? "
        "DataSource:*TypedLocalObjectReference DataSourceRef:*TypedObjectReference VolumeAttributesClassName?"
    ),
    "PodDisruptionBudgetSpec": "MinAvailable? Selector? MaxUnavailable? UnhealthyPodEvictionPolicy?",
    "ResourceClaimSpec": "Devices:DeviceClaim",
    "ResourceClaimTemplateSpec": "@ Spec:ResourceClaimSpec",
    "RollingUpdateStatefulSetStrategy": "Partition:int MaxUnavailable?",
    "SuccessPolicy": "Rules:[]SuccessPolicyRule",
    "SuccessPolicyRule": "SucceededIndexes? SucceededCount?",
    "TypedLocalObjectReference": "APIGroup? Kind Name",
    "TypedObjectReference": "APIGroup? Kind Name Namespace?",
    "VolumeAttachmentSource": "PersistentVolumeName? InlineVolumeSpec?",
    "VolumeAttachmentSpec": "Attacher Source:VolumeAttachmentSource NodeName",
    "VolumeResourceRequirements": "Limits? Requests?",
}
_PLAIN: Mapping[str, Any] = {"": "", "?": None, "int": 0, "bool": False, "quantity": "0"}
_METADATA = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations",
    "ownerReferences", "finalizers",
)  # fmt: skip
_CAPITALS = re.compile(r"^[A-Z]+(?=[A-Z][a-z])|^[A-Z]+")


def json_name(name: str) -> str:
    """The name of a field in the versions that are served: ``APIGroup`` is ``apiGroup``."""
    return _CAPITALS.sub(lambda found: found[0].lower(), name, count=1)


@lru_cache(maxsize=128)
def _fields(kind: str) -> tuple[tuple[str, str, str], ...]:
    """Of a type: each field's name here, its name in JSON, and what it holds."""
    found = []
    for text in _TYPES[kind].split():
        named, _, holds = text.removesuffix("?").partition(":")
        name, _, key = named.partition("=")
        found.append((name, key or json_name(name), "?" if text.endswith("?") else holds))
    return tuple(found)


def shown(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a served version as one of the type within."""
    if kind == "PodSpec":
        host = {key: raw[key] for key in withinpods.HOST if key in raw}
        raw = {**raw, "securityContext": {**(raw.get("securityContext") or {}), **host}}
    found: dict[str, Any] = {}
    for name, key, holds in _fields(kind):
        if name == "@":
            metadata = raw.get("metadata") or {}
            found |= {key: metadata[key] for key in _METADATA if metadata.get(key)}
        else:
            found[name] = _value(holds, raw.get(key))
    return found


def _value(holds: str, value: Any) -> Any:
    if holds in _PLAIN:
        return _PLAIN[holds] if value is None else value
    if holds.startswith("[]"):
        return None if value is None else [shown(holds[2:], each) for each in value]
    if holds.startswith("*"):
        return None if value is None else shown(holds[1:], value)
    return shown(holds, value or {})


def difference(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, line by line, with three lines around it."""
    before, after = (_lines(shown(kind, raw)) for raw in (old, new))
    return "".join(list(difflib.unified_diff(before, after))[2:])


def _lines(value: Any) -> list[str]:
    return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".splitlines(keepends=True)
