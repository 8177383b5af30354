"""Namespace: a scope for names, gone only when the namespace controller has emptied it."""

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple, text
from kybern.machinery.kind import Column, Kind, Subresource

_SELECTABLE = {
    "status.phase": lambda raw: text(dig(raw, "status", "phase")),
}


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
    storage_version_hash="Q3oi5N2YM8M=",
)
