"""The table ``data/protobuf.json.gz``: what each field of each message is called in JSON, its number and its type.

Messages are named in full (``k8s.io.api.core.v1.Pod``). A row may be *inline*: the fields of its message are shown in
JSON as those of its owner. What is marked as a *pointer* upstream writes only when it is set; fields that are neither
that nor lists, maps or bytes it always writes.
"""

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from kybern.machinery import wire

RAW = "k8s.io.apimachinery.pkg.runtime.RawExtension"
EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1"
PROPS = f"{EXTENSIONS}.JSONSchemaProps"
_SCALAR_FORMS = {
    "string": wire.BYTES,
    "bytes": wire.BYTES,
    "bool": wire.VARINT,
    "int32": wire.VARINT,
    "int64": wire.VARINT,
    "double": wire.FIXED64,
}
SCALARS = frozenset(_SCALAR_FORMS)


@dataclass(frozen=True, slots=True)
class Row:
    """One field. ``type`` is a scalar or the full name of a message; of a map it is that of the values."""

    number: int
    name: str
    type: str
    repeated: bool
    mapped: bool
    inline: bool
    pointer: bool

    @property
    def form(self) -> int:
        """The wire type of one value of it."""
        return wire.BYTES if self.mapped else form(self.type)


def form(kind: str) -> int:
    return _SCALAR_FORMS.get(kind, wire.BYTES)


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, list[dict[str, Any]]]]:
    packed = resources.files("kybern.machinery").joinpath("data/protobuf.json.gz").read_bytes()
    found: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(gzip.decompress(packed))
    return found


def known(package: str, name: str) -> bool:
    return name in _tables().get(package, {})


def rows(full: str) -> tuple[Row, ...]:
    """The fields of a message in the order of their numbers."""
    package, _, name = full.rpartition(".")
    found = (_row(raw, package) for raw in _tables()[package][name])
    return tuple(sorted(found, key=lambda row: row.number))


def _row(raw: dict[str, Any], package: str) -> Row:
    kind = raw["type"]
    mapped = kind.startswith("map<")
    if mapped:
        kind = kind[4:-1].partition(",")[2].strip()
    return Row(
        raw["n"],
        raw.get("json") or raw["name"],
        _full(kind, package),
        raw.get("repeated", False),
        mapped,
        raw.get("inline", False),
        raw.get("pointer", False),
    )


def _full(kind: str, package: str) -> str:
    kind = kind.removeprefix(".")
    return kind if kind in SCALARS or "." in kind else f"{package}.{kind}"


def schema_or(full: str) -> str:
    """What stands in the place of a schema in such a message: Bool, Array or StringArray; "" for other messages."""
    return full.rpartition("Or")[2] if full.startswith(f"{PROPS}Or") else ""
