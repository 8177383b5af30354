"""What aggregated servers say that they serve, brought into the form in which all is told as one API. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kybern.apiserver.aggregation.remote import Remote
from kybern.machinery.kind import Raw

REF = "#/definitions/"
_PARAMETER = "#/parameters/"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is known of a group version. ``fresh`` is over when its server could not be asked the last time.

    ``paths`` and ``definitions`` are its parts of an OpenAPI v2 document, ``v3`` is its own one of v3.
    """

    resources: tuple[Raw, ...] = ()
    fresh: bool = False
    paths: Mapping[str, Any] = field(default_factory=dict)
    definitions: Mapping[str, Any] = field(default_factory=dict)
    v2_tag: str = ""
    v3: bytes = b""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A group version of another server as discovery tells it."""

    group: str
    version: str
    group_priority: int
    version_priority: int
    resources: tuple[Raw, ...]
    fresh: bool

    @property
    def name(self) -> str:
        return f"{self.group}/{self.version}"


def foreign(remote: Remote, lesson: Lesson | None) -> Foreign:
    known = lesson or Lesson()
    return Foreign(
        remote.group,
        remote.version,
        remote.group_priority,
        remote.version_priority,
        known.resources,
        known.fresh and remote.available,
    )


class _Shape(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is taken over of another server's words: what has another shape must not be told on."""


class _Type(msgspec.Struct, frozen=True):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Below(_Shape, frozen=True):
    subresource: str
    response_kind: _Type | None = None
    accepted_types: list[_Type] = []
    verbs: list[str] = []


class _Resource(_Shape, frozen=True):
    resource: str
    response_kind: _Type | None = None
    scope: str = ""
    singular_resource: str = ""
    verbs: list[str] = []
    short_names: list[str] = []
    categories: list[str] = []
    subresources: list[_Below] = []


def told(resources: Iterable[Any]) -> tuple[Raw, ...]:
    """Resources in the newer form as they are told on. Raises ValueError for what cannot be."""
    return tuple(msgspec.to_builtins(msgspec.convert(one, _Resource)) for one in resources)


def of_aggregated(body: bytes, remote: Remote) -> tuple[Raw, ...] | None:
    """The resources of the group version in an APIGroupDiscoveryList; None when it has none."""
    for item in _object(body).get("items") or ():
        if (item.get("metadata") or {}).get("name") == remote.group:
            for version in item.get("versions") or ():
                if version.get("version") == remote.version:
                    return tuple(version.get("resources") or ())
    return None


def of_legacy(body: bytes, remote: Remote) -> tuple[Raw, ...]:
    """The resources of an APIResourceList in the newer form."""
    found: dict[str, Raw] = {}
    below: list[tuple[str, Raw]] = []
    for one in _object(body).get("resources") or ():
        name, slash, sub = str(one.get("name", "")).partition("/")
        kind = {
            "group": one.get("group") or remote.group,
            "version": one.get("version") or remote.version,
            "kind": one.get("kind", ""),
        }
        if slash:
            below.append((name, {"subresource": sub, "responseKind": kind, "verbs": one.get("verbs") or []}))
            continue
        found[name] = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if one.get("namespaced") else "Cluster",
            "singularResource": one.get("singularName", ""),
            "verbs": one.get("verbs") or [],
            **{key: one[key] for key in ("shortNames", "categories") if one.get(key)},
        }
    for name, raw in below:
        # A subresource may stand alone: its resource then is only a path.
        parent = found.setdefault(
            name, {"resource": name, "scope": "Cluster", "singularResource": "", "verbs": []}
        )
        parent.setdefault("subresources", []).append(raw)
    return tuple(found.values())


def _object(body: bytes) -> Raw:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def of_v2(body: bytes, remote: Remote) -> tuple[dict[str, Any], dict[str, Any]]:
    """The paths of a group version in a document of OpenAPI v2, and the definitions that they reach."""
    document = _object(body)
    start, shared = f"{remote.path}/", document.get("parameters") or {}
    paths = {
        path: _inlined(item, shared)
        for path, item in (document.get("paths") or {}).items()
        if f"{path}/".startswith(start)
    }
    every, reached = document.get("definitions") or {}, {}
    left = list(_references(paths))
    # Definitions of the group version that no path names are published, too.
    left += [name for name, schema in every.items() if _belongs(schema, remote)]
    while left:
        name = left.pop()
        if name in every and name not in reached:
            reached[name] = every[name]
            left.extend(_references(every[name]))
    return paths, reached


def _inlined(value: Any, shared: Mapping[str, Any]) -> Any:
    """With parameters in place of references to them; our own document has none that are shared."""
    if isinstance(value, list):
        return [_inlined(each, shared) for each in value]
    if not isinstance(value, dict):
        return value
    target = value.get("$ref")
    if isinstance(target, str) and target.startswith(_PARAMETER):
        return shared[target.removeprefix(_PARAMETER)]
    return {key: _inlined(each, shared) for key, each in value.items()}


def _belongs(schema: Any, remote: Remote) -> bool:
    kinds = schema.get("x-kubernetes-group-version-kind") if isinstance(schema, dict) else None
    at = remote.group, remote.version
    return any((one.get("group"), one.get("version")) == at for one in kinds or () if isinstance(one, dict))


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        target = value.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(REF)
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def joined(document: Mapping[str, Any], lessons: Iterable[Lesson]) -> dict[str, Any]:
    """A document of OpenAPI v2 with what others serve. A definition that is another one here gets a name of its own."""
    paths, definitions = dict(document["paths"]), dict(document["definitions"])
    for lesson in lessons:
        names = {name: _free(name, schema, definitions) for name, schema in lesson.definitions.items()}
        renamed = {old: new for old, new in names.items() if old != new}
        definitions |= {names[old]: _renamed(schema, renamed) for old, schema in lesson.definitions.items()}
        paths |= {path: _renamed(item, renamed) for path, item in lesson.paths.items() if path not in paths}
    return {**document, "paths": paths, "definitions": definitions}


def _free(name: str, schema: Any, taken: Mapping[str, Any]) -> str:
    number, found = 1, name
    while found in taken and taken[found] != schema:
        number += 1
        found = f"{name}_v{number}"
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if not names:
        return value
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _renamed(each, names) for key, each in value.items()}
    target = found.get("$ref")
    if isinstance(target, str):
        plain = target.removeprefix(REF)
        found["$ref"] = REF + names.get(plain, plain)
    return found


def index(lessons: Mapping[str, Lesson]) -> dict[str, Any]:
    """What the index of OpenAPI v3 says of others' documents, by path without its first slash."""
    return {
        path: {
            "serverRelativeURL": f"/openapi/v3/{path}?hash={hashlib.sha512(lesson.v3).hexdigest().upper()}"
        }
        for path, lesson in lessons.items()
        if lesson.v3
    }
