"""The base of every typed API object: frozen, camelCase on the wire, absent where it has nothing to say.

A field's Python default is what the wire means by leaving it out, never the API's default (the server fills those in).
Collections are tuples and read-only mappings. To change an object use ``replace``.
"""

from typing import Any, ClassVar, dataclass_transform

import msgspec
from msgspec.structs import replace

__all__ = ["Object", "Struct", "decoder", "encode", "replace"]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _StructMeta(msgspec.StructMeta):
    """Tells type checkers that subclasses inherit ``frozen`` and take keywords."""


class Struct(
    msgspec.Struct,
    metaclass=_StructMeta,
    rename="camel",
    omit_defaults=True,
    frozen=True,
    kw_only=True,
    gc=False,  # a frozen tree has no cycles: caches of many need not be searched for them
):
    """A JSON object of the API. Unknown fields are skipped when reading: write by patch, so that none is lost.

    Of the fields that there are, metadata.managedFields is left out.
    """


class Object(Struct, kw_only=True):
    """An API object with a REST path of its own. The class variables say where it lives."""

    api_version: ClassVar[str]
    kind: ClassVar[str]
    plural: ClassVar[str]
    namespaced: ClassVar[bool]


def encode(value: Struct) -> bytes:
    """JSON of a value; objects start with their apiVersion and kind."""
    body = msgspec.json.encode(value)
    if not isinstance(value, Object):
        return body
    head = f'{{"apiVersion":"{value.api_version}","kind":"{value.kind}"'.encode()
    return head + (b"," if len(body) > 2 else b"") + body[1:]


class Decoder[T]:
    """Reads one type. A null is what an absent field is, as in Go: servers send null for lists that hold nothing."""

    def __init__(self, of: type[T]) -> None:
        self._of = of
        self._decoder = msgspec.json.Decoder(of)

    def decode(self, body: bytes | bytearray | memoryview | msgspec.Raw) -> T:
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            # Only when something does not fit is it worth looking for nulls: they are rare.
            return msgspec.convert(_without_nulls(msgspec.json.decode(body)), self._of, strict=True)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


_DECODERS: dict[type, Decoder[Any]] = {}


def decoder[T](of: type[T]) -> Decoder[T]:
    """A reusable decoder, made at first use: building one resolves all types below it.

    What a thread reads needs a decoder that was made before, best when its module is imported: msgspec (0.22) crashes the
    process when a type is read by one thread while another resolves it.
    """
    found = _DECODERS.get(of)
    if found is None:
        found = _DECODERS[of] = Decoder(of)
    return found
