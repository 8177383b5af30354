"""The schema of a custom kind as OpenAPI: what the definition says, with what every object has."""

from collections.abc import Mapping
from typing import Any

from kybern.apiserver.crd.node import META
from kybern.machinery.kind import Kind
from kybern.machinery.structural.node import EMBEDDED, PRESERVE, Structural
from kybern.machinery.walkers import REF

# How they begin is what conformance tests look for in the output of ``kubectl explain``.
_API_VERSION = "APIVersion defines the schema that this object is written in: group and version."
_KIND = "The name of the kind of this object."
_METADATA = "Standard object's metadata: name, labels and the like."
LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_OBJECT: Mapping[str, Any] = {
    "apiVersion": {"type": "string", "description": _API_VERSION},
    "kind": {"type": "string", "description": _KIND},
    "metadata": {"description": _METADATA, "allOf": [{"$ref": REF + META}], "default": {}},
}


def _gvk(kind: Kind, name: str) -> list[dict[str, str]]:
    return [{"group": kind.group, "version": kind.version, "kind": name}]


def schema(kind: Kind, structural: Structural) -> dict[str, Any]:
    """The definition of the kind."""
    found = _shown(structural.schema)
    if not (found.get(PRESERVE) and not found.get("properties")):
        found["properties"] = {**found.get("properties", {}), **_OBJECT}
    return {"type": "object", **found, "x-kubernetes-group-version-kind": _gvk(kind, kind.kind)}


def listed(kind: Kind, name: str) -> dict[str, Any]:
    """The definition of a list of the kind whose definition has this name."""
    return {
        "description": f"{kind.listed} is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_OBJECT,
            "items": {"type": "array", "items": {"$ref": REF + name}},
            "metadata": {"description": _METADATA, "allOf": [{"$ref": REF + LIST_META}], "default": {}},
        },
        "x-kubernetes-group-version-kind": _gvk(kind, kind.listed),
    }


def _shown(value: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the schema; objects inside have what every object has, too."""
    found: dict[str, Any] = {}
    for key, each in value.items():
        if key == "properties":
            found[key] = {name: _shown(part) for name, part in each.items()}
        elif key in ("items", "additionalProperties", "not") and isinstance(each, Mapping):
            found[key] = _shown(each)
        elif key in ("allOf", "anyOf", "oneOf"):
            found[key] = [_shown(part) for part in each]
        else:
            found[key] = each
    if found.get(EMBEDDED):
        found["properties"] = {**found.get("properties", {}), **_OBJECT}
    return found
