"""Secret: data that is not for every eye."""

import base64

from kybern.api.rules.tables import simple, text
from kybern.machinery.kind import Column, Kind, Raw, Rules

_SELECTABLE = {"type": lambda raw: text(raw.get("type"))}


def _default(raw: Raw) -> None:
    if not raw.get("type"):
        raw["type"] = "Opaque"
    plain = raw.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        raw["data"] = {**(raw.get("data") or {}), **encoded}


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
    rules=Rules(default=_default),
    storage_version_hash="S6u1pOWzb84=",
)
