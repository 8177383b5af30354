"""Secret: data that is not for every eye."""

from kybern.api.rules.tables import simple, text
from kybern.machinery.kind import Column, Kind

_SELECTABLE = {"type": lambda raw: text(raw.get("type"))}


KIND = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    namespaced=True,
    schema="io.k8s.api.core.v1.Secret",
    singular="secret",
    storage="secrets",
    selectable=_SELECTABLE,
    table=simple(
        (Column("Type"), Column("Data")), lambda raw: [raw.get("type", ""), len(raw.get("data") or ())]
    ),
    storage_version_hash="S6u1pOWzb84=",
)
