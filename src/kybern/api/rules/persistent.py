"""Persistent volumes, and what may change in claims that exist."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import claims, within
from kybern.api.rules.amounts import amount
from kybern.api.rules.causes import (
    all_invalid,
    forbidden,
    invalid,
    not_supported,
    one_of,
    required,
    unchanged,
)
from kybern.api.rules.formats import label, subdomain
from kybern.api.rules.paths import no_way_up
from kybern.api.rules.pods.scheduling import node_selector
from kybern.api.rules.sources import CHECKS, driver_name
from kybern.machinery import quantity
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_KINDS = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
_RECLAIM = ("Delete", "Recycle", "Retain")
_IMMUTABLE_CLAIM = (
    "spec is immutable after creation except resources.requests "
    "and volumeAttributesClassName for bound claims"
)


def volume(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from volume_spec("spec", spec)
    if old is not None:
        yield from _volume_update(spec, old.get("spec") or {})


def volume_spec(field: str, spec: Raw) -> Iterator[Cause]:
    modes = spec.get("accessModes") or []
    if not modes:
        yield required(f"{field}.accessModes")
    yield from claims.modes(f"{field}.accessModes", modes)
    yield from _capacity(f"{field}.capacity", spec.get("capacity"))
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        yield from one_of(f"{field}.persistentVolumeReclaimPolicy", policy, _RECLAIM)
    if spec.get("nodeAffinity") is not None:
        yield from _affinity(f"{field}.nodeAffinity", spec["nodeAffinity"])
    yield from _source(field, spec)
    if (spec.get("hostPath") or {}).get("path") == "/" and policy == "Recycle":
        yield forbidden(
            f"{field}.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"
        )
    for key in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(key):
            yield from all_invalid(f"{field}.{key}", spec[key], subdomain(spec[key]))
    if spec.get("volumeMode"):
        yield from one_of(f"{field}.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))


def _capacity(field: str, capacity: dict[str, str] | None) -> Iterator[Cause]:
    if not capacity:
        yield required(field)
    if not capacity or "storage" not in capacity or len(capacity) > 1:
        yield not_supported(field, capacity, ("storage",))
    for resource, text in (capacity or {}).items():
        at = f"{field}[{resource}]"
        yield from amount(at, resource, text)
        if not quantity.parse(text) > quantity.parse("0"):
            yield invalid(at, text, "must be greater than zero")


def _affinity(field: str, raw: Raw) -> Iterator[Cause]:
    if raw.get("required") is None:
        yield required(f"{field}.required", "must specify required node constraints")
    else:
        yield from node_selector(f"{field}.required", raw["required"])


def _source(field: str, spec: Raw) -> Iterator[Cause]:
    kinds = [kind for kind in _KINDS if spec.get(kind) is not None]
    for kind in kinds[1:]:
        yield forbidden(f"{field}.{kind}", "may not specify more than 1 volume type")
    for kind in kinds[:1]:
        at = f"{field}.{kind}"
        if kind == "csi":
            yield from _csi(at, spec[kind])
        elif kind == "local":
            yield from _local(field, spec)
        elif kind in CHECKS:
            yield from CHECKS[kind](at, spec[kind])
    if not kinds:
        yield required(field, "must specify a volume type")


def _csi(field: str, source: Raw) -> Iterator[Cause]:
    yield from driver_name(f"{field}.driver", source.get("driver", ""))
    if not source.get("volumeHandle"):
        yield required(f"{field}.volumeHandle")


def _local(field: str, spec: Raw) -> Iterator[Cause]:
    path = spec["local"].get("path", "")
    if not path:
        yield required(f"{field}.local.path")
    else:
        yield from no_way_up(f"{field}.local.path", path)
    if (spec.get("nodeAffinity") or {}).get("required") is None:
        yield required(f"{field}.nodeAffinity", "Local volume requires node affinity")


def _volume_update(spec: Raw, old: Raw) -> Iterator[Cause]:
    new_source = {kind: spec[kind] for kind in _KINDS if spec.get(kind) is not None}
    was_source = {kind: old[kind] for kind in _KINDS if old.get(kind) is not None}
    if new_source != was_source:
        yield forbidden(
            "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"
        )
    yield from unchanged("spec.volumeMode", spec.get("volumeMode"), old.get("volumeMode"))
    if old.get("nodeAffinity") is not None and spec.get("nodeAffinity") != old["nodeAffinity"]:
        text = "field is immutable, except for updating from beta label to GA"
        yield invalid("spec.nodeAffinity", spec.get("nodeAffinity"), text)


def claim(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from claims.spec("spec", spec)
    if old is not None:
        yield from _claim_update(spec, old)


def _requested(spec: Raw) -> str | None:
    found = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return str(found) if found is not None else None


def _fixed(spec: Raw, old: Raw, *, bound: bool) -> dict[str, Any]:
    """The old claim as it may become: the size of a bound one, its attributes, and what a binder fills in."""
    found = {key: value for key, value in old.items() if value is not None}
    free = {
        "volumeName": not old.get("volumeName"),
        "storageClassName": old.get("storageClassName") is None,
        "volumeAttributesClassName": bound,
    }
    if bound:
        size = _requested(spec)
        resources = found.get("resources") or {}
        if size is not None and resources.get("requests"):
            found["resources"] = {**resources, "requests": {**resources["requests"], "storage": size}}
    for key in (key for key, may in free.items() if may):
        found.pop(key, None)
        if spec.get(key) is not None:
            found[key] = spec[key]
    return found


def _claim_update(spec: Raw, old: Raw) -> Iterator[Cause]:
    was, status = old.get("spec") or {}, old.get("status") or {}
    bound = status.get("phase") == "Bound"
    may = _fixed(spec, was, bound=bound)
    if may != {key: value for key, value in spec.items() if value is not None}:
        found = within.difference("PersistentVolumeClaimSpec", may, spec)
        yield forbidden("spec", f"{_IMMUTABLE_CLAIM}\n{found}")
    new_size, old_size = _requested(spec), _requested(was)
    wanted, had = quantity.parse(new_size or "0"), quantity.parse(old_size or "0")
    capacity = quantity.parse((status.get("capacity") or {}).get("storage") or "0")
    if wanted < had and wanted <= capacity:
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def storage_class(new: Raw, old: Raw | None) -> Iterator[Cause]:
    name = new.get("provisioner", "")
    if not name:
        yield required("provisioner")
    elif _qualified(name):
        yield from all_invalid("provisioner", name, _qualified(name))
    yield from _parameters("parameters", new.get("parameters") or {})
    if not new.get("reclaimPolicy"):
        yield required("reclaimPolicy")
    else:
        yield from one_of("reclaimPolicy", new["reclaimPolicy"], ("Delete", "Retain"))
    modes = ("Immediate", "WaitForFirstConsumer")
    yield from one_of("volumeBindingMode", new.get("volumeBindingMode"), modes)
    yield from _topologies("allowedTopologies", new.get("allowedTopologies") or [])
    if old is not None:
        yield from _class_update(new, old)


def _qualified(name: str) -> tuple[str, ...]:
    from_lower = name.lower()
    domain, slash, path = from_lower.rpartition("/")
    return label(path) if not slash and "." not in path else subdomain(domain or path)


def _parameters(field: str, found: dict[str, str]) -> Iterator[Cause]:
    if len(found) > 512:
        yield Cause(field, "FieldValueTooLong", "Too long: may not be more than 512 bytes")
    for key in found:
        if not key:
            yield invalid(field, key, "field can not be empty.")


def _topologies(field: str, found: list[Raw]) -> Iterator[Cause]:
    for i, term in enumerate(found):
        at = f"{field}[{i}].matchLabelExpressions"
        keys: set[str] = set()
        for j, expression in enumerate(term.get("matchLabelExpressions") or ()):
            if not expression.get("values"):
                yield required(f"{at}[{j}].values")
            if expression.get("key", "") in keys:
                yield Cause(
                    f"{at}[{j}].key", "FieldValueDuplicate", f'Duplicate value: "{expression.get("key", "")}"'
                )
            keys.add(expression.get("key", ""))
        if term in found[:i] or not keys:
            yield Cause(at, "FieldValueDuplicate", 'Duplicate value: ""')


def _class_update(new: Raw, old: Raw) -> Iterator[Cause]:
    if (new.get("parameters") or {}) != (old.get("parameters") or {}):
        yield forbidden("parameters", "updates to parameters are forbidden.")
    yield from unchanged("provisioner", new.get("provisioner", ""), old.get("provisioner", ""))
    if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
        yield forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
    yield from unchanged("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))
