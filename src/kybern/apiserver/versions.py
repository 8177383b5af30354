"""What admission needs to know of versions: see ``admission.framework.Versions``."""

from collections.abc import Sequence

from kybern.apiserver.route import Table
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema


class ServedVersions:
    """Kinds are one another when their objects lie in the same place."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def equivalents(self, kind: Kind) -> Sequence[Kind]:
        if not kind.storage:
            return ()
        return [
            other
            for version in self._table.versions.values()
            for other in version.kinds.values()
            if other.storage == kind.storage and other.api_version != kind.api_version
        ]

    async def convert(self, raw: Raw, kind: Kind, to: Kind) -> Raw:
        found = kind.conversion.to_stored(raw) if kind.conversion else raw
        found = to.conversion.from_stored(found) if to.conversion else found
        return {**found, "apiVersion": to.api_version, "kind": to.kind}

    def reread(self, kind: Kind, raw: Raw) -> Raw:
        """What the schema does not know is dropped, as in a body that is not to be checked strictly."""
        Schema.load().of(kind.schema).decode(raw, strict=False)
        if not isinstance(raw.get("metadata"), dict):
            raw["metadata"] = {}
        kind.rules.default(raw)
        return raw
