"""Types for field sets from OpenAPI definitions, made at first use.

``x-kubernetes-list-type``, ``-list-map-keys`` and ``-map-type`` say how lists and maps are taken; lists are atomic and
maps granular when nothing is said.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kybern.machinery.apply.lists import Items
from kybern.machinery.apply.types import Fields, Free, Type
from kybern.machinery.schema import Schema
from kybern.machinery.walkers import REF

# Of fields that are keys of items; the definitions do not tell defaults.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.LocalObjectReference": {"name": ""},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}
# Read and written as a string or a number, or of a form that only their readers know.
_WHOLE = frozenset(
    {
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        "io.k8s.apimachinery.pkg.runtime.RawExtension",
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    }
)
_PLAIN = frozenset({"string", "integer", "number", "boolean"})


class Types:
    """The types of one set of definitions."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions = definitions
        self._made: dict[str, Type] = {}

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> "Types":
        """Those of the served API."""
        return Types(Schema.load().definitions)

    def of(self, name: str) -> Type:
        """The type of one definition."""
        found = self._made.get(name)
        if found is None:
            schema = self._definitions.get(name, {})
            found = self._made[name] = Type() if name in _WHOLE else self.type(schema)
        return found

    def passing(self, name: str) -> Type:
        """The type of a definition that comes and goes: of a custom kind."""
        return self.type(self._definitions.get(name, {}))

    def type(self, schema: Mapping[str, Any]) -> Type:
        """The type of a schema."""
        target = self._referred(schema)
        if target and "x-kubernetes-map-type" not in schema:
            return self.of(target)
        if schema.get("x-kubernetes-map-type") == "atomic":
            return Type("object")
        if target:
            return self.type({**self._definitions.get(target, {}), "x-kubernetes-map-type": "granular"})
        sort = schema.get("type")
        if sort in _PLAIN:
            return Type("" if schema.get("x-kubernetes-int-or-string") else sort)
        return self._list(schema) if sort == "array" else self._map(schema)

    def _referred(self, schema: Mapping[str, Any]) -> str:
        every = schema.get("allOf")
        found = schema.get("$ref") or (every[0].get("$ref") if every else "") or ""
        return str(found).removeprefix(REF)

    def _list(self, schema: Mapping[str, Any]) -> Type:
        how = schema.get("x-kubernetes-list-type")
        items = schema.get("items", {})
        if how == "set":
            return Items(self.type(items))
        if how != "map":
            return Type("array")
        defaults = self._defaults(items)
        return Items(self.type(items), tuple(schema.get("x-kubernetes-list-map-keys", ())), defaults)

    def _defaults(self, items: Mapping[str, Any]) -> Mapping[str, Any]:
        target = self._referred(items)
        properties = self._definitions.get(target, items).get("properties", {})
        said = {name: field["default"] for name, field in properties.items() if "default" in field}
        return {**said, **DEFAULTS.get(target, {})}

    def _map(self, schema: Mapping[str, Any]) -> Type:
        properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
        further = schema.get("additionalProperties")
        if not properties and not further:
            return Free()
        other: Type | None = None
        if isinstance(further, Mapping):
            other = self.type(further)
        elif further or schema.get("x-kubernetes-preserve-unknown-fields"):
            other = Free()
        return Fields(lambda: {name: self.type(field) for name, field in properties.items()}, other)
