"""A structural schema: the one type of each place of a value, apart from what its values must be like.

Built once from a definition's ``openAPIV3Schema``. Everything that walks a value with it takes places that the schema does
not describe as unknown, unless ``x-kubernetes-preserve-unknown-fields`` lets them be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.machinery.kind import Raw

EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
LIST_TYPE = "x-kubernetes-list-type"
MAP_KEYS = "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"


@dataclass(slots=True)
class Structural:
    """One place. ``schema`` is what the definition says of it, for the checks of values."""

    schema: Mapping[str, Any]
    properties: dict[str, "Structural"] = field(default_factory=dict)
    additional: "Structural | None" = None
    open: bool = False
    items: "Structural | None" = None
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False
    list_type: str = ""
    map_keys: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None

    def child(self, key: str) -> "Structural | None":
        """What the schema says of a key; None: nothing."""
        return self.properties.get(key) or self.additional


def build(schema: Mapping[str, Any]) -> Structural:
    """The structure of a schema."""
    further = schema.get("additionalProperties")
    items = schema.get("items")
    return Structural(
        schema,
        {name: build(each) for name, each in (schema.get("properties") or {}).items()},
        build(further) if isinstance(further, Mapping) else None,
        further is True,
        build(items) if isinstance(items, Mapping) else None,
        bool(schema.get("nullable")),
        bool(schema.get(PRESERVE)),
        bool(schema.get(EMBEDDED)),
        schema.get(LIST_TYPE) or "",
        tuple(schema.get(MAP_KEYS) or ()),
        schema.get("default") is not None,
        schema.get("default"),
    )


def field_type(schema: Mapping[str, Any], path: str) -> str | None:
    """The type of what a simple path such as ``.spec.name`` names; None when the schema has no such field."""
    found: Any = schema
    for part in path.removeprefix(".").split("."):
        found = (found.get("properties") or {}).get(part)
        if found is None:
            return None
    return str(found.get("type") or "")


def at(raw: Raw, path: tuple[str, ...]) -> Any:
    """The value at a path of keys, None when there is none."""
    found: Any = raw
    for part in path:
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found
