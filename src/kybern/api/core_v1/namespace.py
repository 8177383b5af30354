"""Namespace: a scope for names, gone only when the namespace controller has emptied it."""

from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, invalid
from kybern.api.rules.formats import qualified_name
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple, text
from kybern.machinery import names
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, Subresource

_SELECTABLE = {
    "status.phase": lambda raw: text(dig(raw, "status", "phase")),
}


_NAME_LABEL = "kubernetes.io/metadata.name"


def _default(raw: Raw) -> None:
    metadata = raw.setdefault("metadata", {})
    if metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), _NAME_LABEL: metadata["name"]}
    raw.setdefault("spec", {})
    raw.setdefault("status", {})


def _on_create(raw: Raw) -> None:
    _default(raw)  # the name may have been generated since
    finalizers = list(raw["spec"].get("finalizers") or ())
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    raw["spec"]["finalizers"] = finalizers
    raw["status"] = {"phase": "Active"}


def _on_update(new: Raw, old: Raw) -> None:
    """Only the finalize subresource changes these finalizers."""
    new["spec"]["finalizers"] = (old.get("spec") or {}).get("finalizers") or []
    if not new["spec"]["finalizers"]:
        del new["spec"]["finalizers"]


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    for finalizer in dig(new, "spec", "finalizers") or () if old is None else ():
        complaints = qualified_name(finalizer)
        yield from all_invalid("spec.finalizers", finalizer, complaints)
        if "/" not in finalizer and finalizer not in _FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid("spec.finalizers", finalizer, text)


_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


KIND = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    schema="io.k8s.api.core.v1.Namespace",
    singular="namespace",
    short_names=("ns",),
    verbs=(
        "create",
        "delete",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ),
    storage="namespaces",
    subresources=(
        Subresource("finalize", "Namespace", verbs=("update",)),
        status("Namespace"),
    ),
    selectable=_SELECTABLE,
    table=simple((Column("Status"),), lambda raw: [text(dig(raw, "status", "phase"))]),
    rules=Rules(default=_default, on_create=_on_create, on_update=_on_update, validate=_validate),
    valid_name=names.dns1123_label,
    storage_version_hash="Q3oi5N2YM8M=",
)
