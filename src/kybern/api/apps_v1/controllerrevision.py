"""ControllerRevision: what a stateful set or daemon set was, for rolling back. Its data never changes."""

from collections.abc import Iterator

from kybern.api.rules.causes import at_least_zero, required, unchanged
from kybern.api.rules.tables import NONE, dig, simple
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _owner(raw: Raw) -> str:
    for owner in dig(raw, "metadata", "ownerReferences") or ():
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return NONE


def _default(raw: Raw) -> None:
    raw.setdefault("revision", 0)


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    if new.get("data") is None:
        yield required("data", "data is mandatory")
    yield from at_least_zero("revision", new.get("revision"))
    if old is not None:
        yield from unchanged("data", new.get("data"), old.get("data"))


KIND = Kind(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    namespaced=True,
    schema="io.k8s.api.apps.v1.ControllerRevision",
    singular="controllerrevision",
    storage="controllerrevisions",
    table=simple(
        (Column("Controller"), Column("Revision")), lambda raw: [_owner(raw), raw.get("revision", 0)]
    ),
    rules=Rules(default=_default, validate=_validate),
    storage_version_hash="85nkx63pcBU=",
)
