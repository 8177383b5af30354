"""Who manages which fields of an object: kept up to date on every write, before admission changes anything.

What admission and the kind's rules add belongs to nobody. Paths that hold only a part of an object (its status, say)
count only that part.
"""

import contextlib
import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kybern.api.rules.statuses import keep_metadata
from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.generic.current import Current
from kybern.machinery import times
from kybern.machinery.apply import managers, update
from kybern.machinery.apply.lists import Unkeyed
from kybern.machinery.apply.managers import Managed, Who
from kybern.machinery.apply.schema import Types
from kybern.machinery.apply.shape import Other, Pattern, Reset, Shape
from kybern.machinery.apply.types import Fields, Free
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_STATUS = frozenset({"status"})
_SPEC = frozenset({"spec"})
_RESIZED: Pattern = {"*": {"f:resources": None, "f:resizePolicy": None}}
_PARTS: Mapping[str, Reset] = {
    "ephemeralcontainers": Reset(only={"f:spec": {"f:ephemeralContainers": None}}),
    "resize": Reset(only={"f:spec": {"f:containers": _RESIZED, "f:initContainers": _RESIZED}}),
    "approval": Reset(top=_SPEC),
    "finalize": Reset(top=_STATUS),
}
# Fields of metadata that the status of these does not write.
_STATUS_METADATA: Mapping[str, frozenset[str]] = {
    "deployments": frozenset({"labels"}),
    "pods": frozenset({"deletionTimestamp", "ownerReferences"}),
}
_UNTRACKED = ("binding",)
"""Paths through which the server itself changes an object."""


def _reset(kind: Kind, subresource: str) -> Reset:
    if kind.kind == "CertificateSigningRequest" and not subresource:
        return Reset(top=_STATUS | _SPEC)
    if not subresource:
        return Reset(top=_STATUS if kind.has_status else frozenset())
    if subresource != "status":
        return _PARTS.get(subresource, Reset())
    if kind.rules.on_status is keep_metadata or kind.group == "flowcontrol.apiserver.k8s.io":
        return Reset(top=_SPEC | {"metadata"})
    return Reset(top=_SPEC, metadata=_STATUS_METADATA.get(kind.plural, frozenset()))


def shape(engine: Engine, kind: Kind, subresource: str) -> Shape:
    """How the fields of a kind are seen through one of its paths."""
    key = (kind.api_version, kind.kind, subresource)
    found = engine.shapes.get(key)
    if found is None:
        types = Types.load()
        root = types.passing(kind.schema) if kind.custom else types.of(kind.schema)
        if not isinstance(root, Fields):
            root = Fields(lambda: {"metadata": types.of(_META)}, Free())

        def other(version: str) -> Other | None:
            return _other(engine, kind, subresource, version)

        found = engine.shapes[key] = Shape(kind.api_version, root, _reset(kind, subresource), other)
    return found


def _other(engine: Engine, kind: Kind, subresource: str, version: str) -> Other | None:
    group, _, short = version.rpartition("/")
    served = engine.table.versions.get((group, short))
    target = served.kinds.get(kind.plural) if served is not None else None
    if target is None or engine.table.stored(target) is not engine.table.stored(kind):
        return None

    def become(raw: Raw) -> Raw:
        found = copy.deepcopy(raw)
        if kind.conversion is not None:
            found = kind.conversion.to_stored(found)
        return target.conversion.from_stored(found) if target.conversion is not None else found

    return shape(engine, target, subresource), become


def nothing(kind: Kind) -> Raw:
    """An object of a kind before anything is said of it."""
    schema = Schema.load()
    if kind.custom or kind.schema not in schema.definitions:
        return {"metadata": {}}
    found: Raw = schema.compiler.struct(kind.schema)[1]()
    return found


def now(call: Call) -> str:
    return _second(int(call.engine.clock()))


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return times.of_unix(seconds)


def writer(call: Call, operation: str = managers.UPDATE, name: str = "") -> Who:
    version = call.kind.api_version if operation == managers.UPDATE else ""
    subresource = call.subresource
    return Who(name or managers.named(call.options.manager, call.agent), operation, version, subresource)


def record_new(call: Call, raw: Raw) -> None:
    """A new object: all that it says is managed by who makes it."""
    metadata = raw["metadata"]
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata.pop(key, None)
    sent = metadata.pop("managedFields", None)
    managed = (managers.of(sent, sent=True) or {}) if sent and not managers.reset(sent) else {}
    seen = shape(call.engine, call.kind, call.subresource)
    with contextlib.suppress(Unkeyed):
        # An object that can't be told apart field by field is managed by nobody.
        managed = update.updated(nothing(call.kind), raw, managed, seen, writer(call), now(call))
    if managed:
        metadata["managedFields"] = managers.listed(managed)


def record_changed(call: Call, raw: Raw, found: Current) -> None:
    """An object that replaces another: what differs is managed by who writes."""
    metadata = raw["metadata"]
    live = found.raw["metadata"].get("managedFields") or []
    if call.subresource in _UNTRACKED:
        return
    before = _before(call, metadata.pop("managedFields", None), live)
    kept = managers.of(live) if before is None else before
    kept = {} if kept is None else kept
    seen = shape(call.engine, call.kind, call.subresource)
    at = "" if call.subresource == "scale" else now(call)
    try:
        after = update.updated(found.raw, raw, kept, seen, writer(call), at)
    except Unkeyed:
        before, after = None, kept
    entries = live if before is None and after is kept else managers.listed(after)
    if entries:
        metadata["managedFields"] = entries


def _before(call: Call, sent: Any, live: list[Raw]) -> Managed | None:
    """The entries to start from, None for those of the present object. Who sends unreadable ones is not heard."""
    if call.subresource or not sent or sent == live:
        return None
    if managers.reset(sent):
        return {}
    return managers.of(sent, sent=True) or None


def entries_of(raw: Mapping[str, Any]) -> Managed:
    return managers.of(raw["metadata"].get("managedFields") or ()) or {}


def timeless(raw: Raw, found: Current) -> Raw | None:
    """The object with the times of the present one, when nothing else of the entries differs."""
    live = found.raw["metadata"].get("managedFields")
    entries = raw["metadata"].get("managedFields")
    if not live or not entries or live == entries or not managers.same_but_times(live, entries):
        return None
    return {**raw, "metadata": {**raw["metadata"], "managedFields": live}}


__all__ = ["entries_of", "nothing", "now", "record_changed", "record_new", "shape", "timeless", "writer"]
