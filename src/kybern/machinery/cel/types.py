"""The types that expressions have.

A type is a name and its parameters; objects with declared fields (those that a schema describes) carry them, too. ``dyn``
is what is not known before evaluation: it fits everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """``name`` as cel-go prints it. Types are equal by name and parameters; an object's name stands for its fields.

    ``kind`` is "plain", "list", "map", "optional", "type", "object", "opaque" (a library's own, such as
    kubernetes.Quantity) or "parameter" (a letter that stands for any type within one overload).
    """

    name: str
    kind: str = "plain"
    parameters: tuple["Type", ...] = ()
    fields: Mapping[str, "Type"] = field(default_factory=dict, compare=False, hash=False, repr=False)

    def __str__(self) -> str:
        if self.parameters:
            return f"{self.name}({', '.join(map(str, self.parameters))})"
        return self.name


DYN = Type("dyn")
NULL = Type("null_type")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("google.protobuf.Timestamp")
DURATION = Type("google.protobuf.Duration")
A, B, T = Type("A", "parameter"), Type("B", "parameter"), Type("T", "parameter")


def list_of(item: Type) -> Type:
    return Type("list", "list", (item,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", "map", (key, value))


def optional_of(value: Type) -> Type:
    return Type("optional_type", "optional", (value,))


def type_of(value: Type) -> Type:
    return Type("type", "type", (value,))


def opaque(name: str) -> Type:
    return Type(name, "opaque")


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """An object whose fields are known; reading another one is an error of the expression."""
    return Type(name, "object", (), fields)
