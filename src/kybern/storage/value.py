"""How an object lies in the store, and how it becomes what a client reads without being decoded.

A value is ``{"apiVersion":..,"kind":..,"metadata":{`` and the rest, without resourceVersion: the store's revision is the
version, and is spliced in behind that head, whose length is the same for all objects of a kind. An *item* is an object
as it stands in a list: with its resourceVersion, without apiVersion and kind.

Values that upstream's API server wrote (protobuf for most kinds, JSON in another order, sometimes of an older version)
are brought into this form first, as a body that was sent is: the schema says which empty fields an object shows, and
defaults that a newer version has are filled in. They are kept as they are until somebody writes the object.
"""

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Kind, Raw

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
PROTOBUF = b"k8s\0"


class Unreadable(Exception):
    """A value that is no object of its kind: damaged, or encrypted by a server that knows how."""


def start_of(api_version: str, kind: str) -> bytes:
    """What the values of a kind start with."""
    return f'{{"apiVersion":"{api_version}","kind":"{kind}",'.encode()


class Form:
    """The bytes of one kind's objects."""

    def __init__(self, kind: Kind) -> None:
        self.api_version = kind.api_version
        self.kind = kind.kind
        self.selectable = kind.selectable
        self._kind = kind
        self._on_read = kind.on_read
        self._write: Callable[[Raw], bytes] | None = None
        self.start = start_of(kind.api_version, kind.kind)
        self.head = self.start + b'"metadata":{'

    def value(self, raw: Raw) -> bytes:
        """An object as it is stored."""
        metadata = raw["metadata"]
        if "resourceVersion" in metadata:
            metadata = {key: value for key, value in metadata.items() if key != "resourceVersion"}
        ordered = {**raw, "metadata": metadata}
        for key in ("apiVersion", "kind"):
            ordered.pop(key, None)
        rest = {"metadata": ordered.pop("metadata"), **ordered}
        return self.start + _encode(rest)[1:]

    def known(self, value: bytes) -> bytes:
        """The value in our own form, whoever wrote it."""
        if self._on_read is not None:
            raw: Raw = _decode(value)
            self._on_read(raw)
            return self.value(raw)
        if value.startswith(self.head):
            return value
        return self._foreign(value)

    def _foreign(self, value: bytes) -> bytes:
        try:
            raw = self._decoded(value)
            if raw.get("apiVersion") != self.api_version and self._kind.on_foreign is not None:
                self._kind.on_foreign(raw)
            if self._kind.schema and not self._kind.custom:
                # Imported here: only clusters that upstream's API server wrote to have such values.
                from kybern.machinery.schema import Schema  # noqa: PLC0415

                raw |= {"apiVersion": self.api_version, "kind": self.kind}
                Schema.load().of(self._kind.schema).decode(raw, strict=False)
                self._kind.rules.default(raw)
            return self.value(raw)
        except (ApiError, msgspec.DecodeError, KeyError, TypeError, ValueError) as problem:
            raise Unreadable(f"cannot read a stored {self.kind}: {problem}") from problem

    def _decoded(self, value: bytes) -> Raw:
        if value.startswith(PROTOBUF):
            from kybern.machinery import protobuf  # noqa: PLC0415

            return protobuf.decode(value, self.api_version)
        found = decoded(value)
        if not isinstance(found, dict):
            raise TypeError("not a JSON object")
        return found

    def item(self, value: bytes, revision: int) -> bytes:
        """The object as it stands in a list."""
        return b'{"metadata":{%b' % self._versioned(value, revision)

    def full(self, item: bytes) -> bytes:
        """The object as it is answered alone."""
        return self.start + item[1:]

    def served(self, value: bytes, revision: int) -> bytes:
        """The object as it is answered alone, from its value."""
        return self.head + self._versioned(value, revision)

    def _versioned(self, value: bytes, revision: int) -> bytes:
        """What follows the head, with the version first."""
        rest = self.known(value)[len(self.head) :]
        comma = b"" if rest.startswith(b"}") else b","
        return b'"resourceVersion":"%d"%b%b' % (revision, comma, rest)

    def message(self, item: bytes | Raw) -> bytes:
        """The object as a protobuf message, from its list form or its values. Raises NotAcceptable, Unreadable."""
        if self._write is None:
            # Imported here: its tables are loaded when the first client asks for this form.
            from kybern.machinery import protobuf  # noqa: PLC0415

            self._write = protobuf.writer(self.api_version, self.kind)
        try:
            return self._write(decoded(item) if isinstance(item, bytes) else item)
        except (AttributeError, TypeError, ValueError, struct.error) as problem:
            raise Unreadable(f"cannot write a stored {self.kind} as protobuf: {problem}") from problem

    def enveloped(self, message: bytes) -> bytes:
        """The object as it is answered alone in protobuf."""
        from kybern.machinery import protobuf  # noqa: PLC0415

        return protobuf.envelope(self.api_version, self.kind, message)

    def raw(self, value: bytes, revision: int) -> Raw:
        """The object as plain values, with apiVersion, kind and resourceVersion."""
        return decoded(self.served(value, revision))

    def raw_item(self, item: bytes) -> Raw:
        return decoded(self.full(item))


def decoded(body: bytes) -> Raw:
    found: Raw = _decode(body)
    return found


def encoded(value: Any) -> bytes:
    return _encode(value)
