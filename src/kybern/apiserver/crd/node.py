"""The decoder of a custom kind's bodies: metadata as for every kind, the rest by the structural schema."""

from collections.abc import Mapping
from typing import Any

from kybern.machinery.kind import Raw
from kybern.machinery.schema import Node, Schema, Undecodable, unhandled
from kybern.machinery.structural import shape
from kybern.machinery.structural.node import Structural
from kybern.machinery.walk import Walk

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class CustomNode(Node):
    """See ``machinery.schema.Node``. ``raw`` is what the definition's schema looks like as OpenAPI."""

    def __init__(self, name: str, kind: str, raw: Mapping[str, Any], structural: Structural) -> None:
        super().__init__(name, Schema.load())
        self.raw = raw
        self.kind = kind
        self._structural = structural

    def decode(self, raw: Raw, strict: bool = True) -> list[str]:
        unknown: list[str] = []

        def metadata(value: Raw, path: str) -> None:
            if value.get("metadata") is not None:
                place = f"{path}.metadata" if path else "metadata"
                value["metadata"] = self._metadata(raw, value["metadata"], place, unknown)

        metadata(raw, "")
        unknown += [f'unknown field "{place}"' for place in shape.prune(raw, self._structural, root=True)]
        shape.embedded(raw, self._structural, lambda value, path: metadata(value, path) if path else None)
        shape.drop_nulls(raw, self._structural)
        return unknown if strict else []

    def _metadata(self, raw: Raw, metadata: Any, place: str, unknown: list[str]) -> Any:
        walk = Walk()
        walk.path += place.split(".")
        if not isinstance(metadata, dict):
            says = walk.complaint(metadata, "", "v1.ObjectMeta")
            raise unhandled(raw, self.kind, says)
        try:
            found = self.schema.compiler.struct(META)[0](metadata, walk)
        except Undecodable as error:
            raise unhandled(raw, self.kind, error.says) from error
        if walk.wrong is not None:
            raise unhandled(raw, self.kind, walk.wrong)
        unknown += walk.unknown
        return found
