"""Kinds out of a definition: one for each version, as the engine knows them.

Objects are kept in one version. What is read from the store is pruned and defaulted by that version's schema, since the
definition may have changed after the object was written; reading as another version prunes by that one's, too.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import SCALE, status
from kybern.apiserver.crd import columns
from kybern.machinery.causes import invalid, required
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Conversion, Kind, Raw, Rules, ScalePaths, Subresource, wish_changed
from kybern.machinery.structural import shape, values
from kybern.machinery.structural.node import Structural, at, build

_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SUB_VERBS = ("get", "patch", "update")
_NEGATIVE = "should be a non-negative integer"


@dataclass(frozen=True, slots=True)
class Made:
    """What a definition gives: the kinds that are served, and the one in which objects are kept."""

    served: tuple[Kind, ...]
    stored: Kind
    schemas: Mapping[str, Structural]


def public(group: str, version: str, kind: str) -> str:
    """The name under which a schema is published."""
    return ".".join([*reversed(group.split(".")), version, kind])


def make(definition: Raw) -> Made:
    """The kinds of an established definition."""
    spec = definition["spec"]
    schemas = {version["name"]: build(_schema(version)) for version in spec["versions"]}
    stored_name = next(version["name"] for version in spec["versions"] if version.get("storage"))
    found = {
        version["name"]: _kind(definition, version, schemas, stored_name) for version in spec["versions"]
    }
    served = tuple(found[version["name"]] for version in spec["versions"] if version.get("served"))
    return Made(served, found[stored_name], {found[name].schema: each for name, each in schemas.items()})


def _schema(version: Raw) -> Raw:
    found: Raw = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
    return found


def _kind(definition: Raw, version: Raw, schemas: Mapping[str, Structural], stored: str) -> Kind:
    spec, metadata = definition["spec"], definition["metadata"]
    names = definition["status"]["acceptedNames"]
    group, name, schema = spec["group"], version["name"], schemas[version["name"]]
    subresources = version.get("subresources") or {}
    scale = _scale(subresources.get("scale"))
    counted = wish_changed if subresources.get("status") is not None else _anything_changed
    is_stored = name == stored
    ends = metadata.get("deletionTimestamp")
    return Kind(
        group=group,
        version=name,
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        schema=f"{public(group, name, names['kind'])}@{metadata.get('resourceVersion', '')}",
        singular=names.get("singular", ""),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=tuple(verb for verb in _VERBS if verb != "create" or not ends),
        storage=f"{group}/{names['plural']}",
        subresources=tuple(_subresources(subresources, names["kind"], group, name)),
        selectable=_selectable(version),
        table=columns.table(version),
        rules=_rules(schema, names["kind"], f"{group}/{name}", scale),
        conversion=None if is_stored else _conversion(group, name, stored, schema),
        allow_unconditional_update=False,
        storage_version_hash=_hash(group, stored, names["kind"]),
        generation=counted,
        custom=True,
        list_kind=names.get("listKind", ""),
        deprecated=_deprecated(version, group, names["kind"]),
        scale=scale,
        on_read=partial(_today, schema) if is_stored else None,
    )


def _hash(group: str, version: str, kind: str) -> str:
    return base64.b64encode(hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()[:8]).decode()


def _deprecated(version: Raw, group: str, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"


def _subresources(found: Raw, kind: str, group: str, version: str) -> Iterator[Subresource]:
    if found.get("status") is not None:
        own = status(kind, group, version)
        yield Subresource(own.name, own.kind, own.group, own.version, _SUB_VERBS)
    if found.get("scale") is not None:
        yield Subresource(SCALE.name, SCALE.kind, SCALE.group, SCALE.version, _SUB_VERBS)


def _keys(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(".").split(".")) if path else ()


def _scale(found: Raw | None) -> ScalePaths | None:
    if found is None:
        return None
    return ScalePaths(
        _keys(found["specReplicasPath"]),
        _keys(found["statusReplicasPath"]),
        _keys(found.get("labelSelectorPath") or ""),
    )


def _anything_changed(new: Raw, old: Raw) -> bool:
    return any(new.get(key) != old.get(key) for key in (new.keys() | old.keys()) - {"metadata"})


def _selectable(version: Raw) -> Mapping[str, Callable[[Raw], str]]:
    found: dict[str, Callable[[Raw], str]] = {}
    for each in version.get("selectableFields") or ():
        keys = _keys(each["jsonPath"])
        found[".".join(keys)] = partial(_selected, keys)
    return found


def _selected(keys: tuple[str, ...], raw: Raw) -> str:
    found = at(raw, keys)
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


def _today(schema: Structural, raw: Raw) -> None:
    shape.prune(raw, schema, root=True)
    shape.drop_nulls(raw, schema)
    shape.fill(raw, schema)


def _conversion(group: str, version: str, stored: str, schema: Structural) -> Conversion:
    """Strategy None: another version is another name for the same object."""

    def from_stored(raw: Raw) -> Raw:
        found = {**raw, "apiVersion": f"{group}/{version}"}
        shape.prune(found, schema, root=True)
        return found

    return Conversion(group, stored, lambda raw: raw, from_stored)


def _rules(schema: Structural, kind: str, api_version: str, scale: ScalePaths | None) -> Rules:
    def default(raw: Raw) -> None:
        shape.fill(raw, schema)

    def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
        if new.get("kind", kind) != kind:
            yield invalid("kind", new["kind"], f"must be {kind}")
            return
        if new.get("apiVersion", api_version) != api_version:
            yield invalid("apiVersion", new["apiVersion"], f"must be {api_version}")
            return
        yield from values.validate(new, schema.schema, old=old)
        if scale is not None:
            yield from _counted(new, scale)
        yield from _inner(new, schema)
        yield from values.lists(new, schema)

    return Rules(default=default, validate=validate, validate_status=validate, on_status=keep_metadata)


def _counted(raw: Raw, scale: ScalePaths) -> Iterator[Cause]:
    for path in (scale.spec, scale.status):
        count = at(raw, path)
        if isinstance(count, int) and count < 0:
            yield invalid(".".join(path), count, _NEGATIVE)


def _inner(raw: Raw, schema: Structural) -> Iterator[Cause]:
    found: list[Cause] = []

    def check(value: dict[str, Any], path: str) -> None:
        if not path:
            return
        missing = (key for key in ("apiVersion", "kind") if not value.get(key))
        found.extend(required(f"{path}.{key}", "must not be empty") for key in missing)

    shape.embedded(raw, schema, check)
    yield from found
