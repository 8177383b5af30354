"""What the Go types behind the API say beyond the OpenAPI schema: the facts that decide which fields an answer has.

``data/go_fields.json.gz`` lists for every definition its fields as ``[*]TYPE[|e|z]``: a star for a pointer, ``e`` for
omitempty, ``z`` for omitzero. Named types (``v1.ResourceList``) are resolved by its second table.
"""

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, cast

SCALARS = {"string": str, "bool": bool, "int32": int, "int64": int, "float64": float}
# Types that read and write themselves, whatever their fields.
OPAQUE = {
    "v1.Time": "time",
    "v1.MicroTime": "micro",
    "resource.Quantity": "quantity",
    "intstr.IntOrString": "int-or-string",
    "runtime.RawExtension": "raw",
    "v1.JSON": "any",
    "v1.FieldsV1": "any",
    "interface{}": "any",
    "v1.JSONSchemaPropsOrBool": "props-or-bool",
    "v1.JSONSchemaPropsOrArray": "props-or-array",
    "v1.JSONSchemaPropsOrStringArray": "props-or-strings",
}


# Lists and maps that validation refuses when they were sent empty, while none at all means something else.
_MEANT = frozenset(
    {
        ("io.k8s.api.autoscaling.v2.HPAScalingRules", "policies"),
        ("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "accessModes"),
        ("io.k8s.api.core.v1.PersistentVolumeSpec", "capacity"),
        ("io.k8s.api.networking.v1.ServiceCIDRSpec", "cidrs"),
    }
)


@dataclass(frozen=True, slots=True)
class GoField:
    """One field: its type without the pointer, and whether an empty value is left out of answers.

    ``meant``: not when it was sent; nothing of this kind is ever stored.
    """

    type: str
    pointer: bool
    omit: str
    meant: bool = False

    @property
    def underlying(self) -> str:
        return underlying(self.type)

    @property
    def by_value(self) -> bool:
        """A struct inside its owner: Go has no empty value for it that omitempty would leave out."""
        kind = self.underlying
        return not self.pointer and kind not in SCALARS and not kind.startswith(("[]", "map["))

    @property
    def keep(self) -> bool:
        """Whether an empty value that was sent is answered."""
        return self.pointer or self.meant or not self.omit or (self.by_value and self.omit != "z")

    @property
    def always(self) -> bool:
        """Whether the field is answered even when nothing was sent."""
        return not self.omit or (self.by_value and self.omit != "z")


@lru_cache(maxsize=1)
def _facts() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    packed = resources.files("kybern.machinery").joinpath("data/go_fields.json.gz").read_bytes()
    found = json.loads(gzip.decompress(packed))
    return found["named"], found["structs"]


def underlying(name: str) -> str:
    """The type behind a named one: ``v1.FinalizerName`` is a string."""
    if name.startswith("types."):
        return "string"
    return _facts()[0].get(name, name) if name not in OPAQUE else name


def fields(definition: str) -> dict[str, GoField]:
    """The fields of a struct by their JSON names; none for what is not a struct."""
    found = _facts()[1].get(definition, {})
    return {name: _parsed(text, (definition, name) in _MEANT) for name, text in found.items()}


def _parsed(text: str, meant: bool) -> GoField:
    kind, _, omit = text.partition("|")
    return GoField(kind.removeprefix("*"), kind.startswith("*"), omit, meant)


def zero(kind: str) -> Any:
    """What Go writes for the zero value of a type that is not a struct."""
    if kind in SCALARS:
        return cast("Any", SCALARS[kind])()
    return {"resource.Quantity": "0", "intstr.IntOrString": 0}.get(kind)
