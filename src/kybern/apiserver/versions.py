"""What admission needs to know of versions: see ``admission.framework.Versions``."""

from collections.abc import Iterator, Sequence
from typing import Any

from kybern.apiserver.engine import Engine
from kybern.apiserver.generic import owners
from kybern.machinery.apply.types import Type
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema


class ServedVersions:
    """Kinds are one another when their objects lie in the same place."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._table = engine.table

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
        if kind.translation is not None:
            return (await kind.translation.convert([raw], to.api_version))[0]
        found = kind.conversion.to_stored(raw) if kind.conversion else raw
        found = to.conversion.from_stored(found) if to.conversion else found
        return {**found, "apiVersion": to.api_version, "kind": to.kind}

    def named(self, api_version: str, kind: str) -> Kind | None:
        group, _, version = api_version.rpartition("/")
        found = self._table.versions.get((group, version))
        return next((one for one in found.kinds.values() if one.kind == kind), None) if found else None

    async def read(self, raw: Raw, kind: Kind) -> Raw:
        if kind.translation is not None:
            return (await kind.translation.convert([raw], kind.api_version))[0]
        return kind.conversion.from_stored(raw) if kind.conversion else raw

    def merged(self, kind: Kind, raw: Raw, config: Raw) -> Raw:
        root = owners.shape(self._engine, kind, "").root
        config = {**config, "apiVersion": kind.api_version, "kind": kind.kind}
        wrong = list(root.wrong(config, ""))
        if wrong:
            lines = wrong[0] if len(wrong) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in wrong)
            raise ValueError(f"failed to convert patch object to typed object: {lines}")
        whole = list(_atomic(root, config, ""))
        if whole:
            text = f"may not mutate atomic arrays, maps or structs: {', '.join(whole)}"
            raise ValueError(f"invalid ApplyConfiguration: {text}")
        found: Raw = root.merged(raw, config)
        return found

    def reread(self, kind: Kind, raw: Raw) -> Raw:
        """What the schema does not know is dropped, as in a body that is not to be checked strictly."""
        Schema.load().of(kind.schema).decode(raw, strict=False)
        if not isinstance(raw.get("metadata"), dict):
            raw["metadata"] = {}
        kind.rules.default(raw)
        return raw


def _atomic(kind: Type, value: Any, path: str) -> Iterator[str]:
    """Where a configuration would replace a whole of which it says only a part, maybe."""
    if not isinstance(value, dict | list):
        return
    if type(kind) is Type:
        yield path
        return
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        below = kind.below(f"f:{key}" if isinstance(key, str) else "")
        if below is not None:
            yield from _atomic(below, part, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key}]")
