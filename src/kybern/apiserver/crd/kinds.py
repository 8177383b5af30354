"""Kinds out of a definition: one for each version, as the engine knows them.

Objects are kept in one version. What is read from the store is pruned and defaulted by that version's schema, since the
definition may have changed after the object was written; reading as another version prunes by that one's, too.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from kybern.admission.webhooks.target import Caller
from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import SCALE, status
from kybern.apiserver.crd import columns
from kybern.apiserver.crd.judge import Judge
from kybern.apiserver.crd.translating import WebhookTranslation
from kybern.machinery.kind import (
    Conversion,
    Kind,
    Raw,
    Rules,
    ScalePaths,
    Subresource,
    Translation,
    wish_changed,
)
from kybern.machinery.structural import shape
from kybern.machinery.structural.node import Structural, at, build

_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SUB_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Made:
    """What a definition gives: the kinds that are served, and the one in which objects are kept."""

    served: tuple[Kind, ...]
    stored: Kind
    schemas: Mapping[str, Structural]


def public(group: str, version: str, kind: str) -> str:
    """The name under which a schema is published."""
    return ".".join([*reversed(group.split(".")), version, kind])


def make(definition: Raw, caller: Caller | None = None) -> Made:
    """The kinds of an established definition. ``caller`` reaches its conversion webhook, when it has one."""
    spec = definition["spec"]
    schemas = {version["name"]: build(_schema(version)) for version in spec["versions"]}
    stored_name = next(version["name"] for version in spec["versions"] if version.get("storage"))
    found = {
        version["name"]: _kind(definition, version, schemas, stored_name) for version in spec["versions"]
    }
    conversion = spec.get("conversion") or {}
    if conversion.get("strategy") == "Webhook" and caller is not None:
        translation = WebhookTranslation(caller, conversion, f"{spec['group']}/{stored_name}")
        found = {name: _translated(kind, translation, schemas[name]) for name, kind in found.items()}
    served = tuple(found[version["name"]] for version in spec["versions"] if version.get("served"))
    return Made(served, found[stored_name], {found[name].schema: each for name, each in schemas.items()})


def _translated(kind: Kind, translation: Translation, schema: Structural) -> Kind:
    """A version that only the webhook can make of another one."""
    return replace(kind, conversion=None, translation=translation, on_read=partial(_today, schema))


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
    judge = Judge(schema, kind, api_version, scale)

    def default(raw: Raw) -> None:
        shape.fill(raw, schema)

    return Rules(
        default=default,
        validate=judge.causes,
        validate_status=judge.causes,
        on_status=keep_metadata,
        warnings=judge.warnings,
    )
