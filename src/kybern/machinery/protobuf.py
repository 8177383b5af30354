"""Kubernetes' protobuf: bodies in an envelope, to plain JSON values and back.

A body is four magic bytes and a message ``Unknown`` with the apiVersion, the kind and the object's own message. Which
message that is follows from the group and version; options that every group knows (DeleteOptions, Status) are looked
for among the meta types, too. A stream of watch events frames each event by its length in four bytes.
"""

from collections.abc import Mapping
from typing import Any

from kybern.machinery import codec, protomessage, prototables, protowrite, wire
from kybern.machinery.errors import BadRequest, NotAcceptable
from kybern.machinery.kind import Raw

MAGIC = b"k8s\x00"
META = "k8s.io.apimachinery.pkg.apis.meta.v1"
_PACKAGES = {
    "": "k8s.io.api.core",
    "meta.k8s.io": "k8s.io.apimachinery.pkg.apis.meta",
    "apiextensions.k8s.io": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "k8s.io.kube_aggregator.pkg.apis.apiregistration",
}


def known(api_version: str, kind: str) -> bool:
    """Whether a kind has a protobuf form (custom resources have none)."""
    return _message(api_version, kind) is not None


def _message(api_version: str, kind: str) -> str | None:
    group, _, version = api_version.rpartition("/")
    base = _PACKAGES.get(group) or f"k8s.io.api.{group.partition('.')[0]}"
    for package in (f"{base}.{version}", META):
        if prototables.known(package, kind):
            return f"{package}.{kind}"
    return None


def decode(body: bytes, version: str = "") -> Raw:
    """A body as a JSON object; raises BadRequest.

    ``version`` is read instead of one that is not known here: messages keep their numbers from version to version.
    """
    if body[:4] != MAGIC:
        raise BadRequest(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    try:
        return _unwrap(body[4:], version)
    except RecursionError as error:
        raise BadRequest("exceeded max depth") from error


def _unwrap(data: bytes, version: str) -> Raw:
    api_version = kind = content_type = ""
    raw = b""
    for number, form, value in wire.fields(data):
        if form != wire.BYTES or not isinstance(value, bytes):
            continue
        if number == 1:
            names = {
                place: wire.binary(each).decode(errors="replace") for place, _, each in wire.fields(value)
            }
            api_version, kind = names.get(1, ""), names.get(2, "")
        elif number == 2:
            raw = value
        elif number == 4:
            content_type = value.decode(errors="replace")
    head = {"apiVersion": api_version, "kind": kind}
    if content_type == "application/json":
        found: Raw = codec.decode_json(raw)[0]
        return head | found
    full = _message(api_version, kind) or (_message(version, kind) if version else None)
    if full is None:
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
    return head | protomessage.reader(full)(raw)


def writer(api_version: str, kind: str) -> protowrite.Writer:
    """What makes a kind's messages of JSON objects; raises NotAcceptable for kinds without a protobuf form."""
    full = _message(api_version, kind)
    if full is None:
        raise NotAcceptable(f"{kind} in {api_version} has no protobuf form")
    return protowrite.writer(full)


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """An object's message as a body."""
    names = wire.text(1, api_version) + wire.text(2, kind)
    return b"%b%b\x12%b%b\x1a\x00\x22\x00" % (
        MAGIC,
        wire.delimited(1, names),
        protowrite.size(message),
        message,
    )


def encode(value: Mapping[str, Any]) -> bytes:
    """A JSON object with apiVersion and kind as a body; raises NotAcceptable for kinds without a protobuf form."""
    api_version, kind = str(value.get("apiVersion", "")), str(value.get("kind", ""))
    return envelope(api_version, kind, writer(api_version, kind)(value))


def frame(event: str, body: bytes) -> bytes:
    """One watch event of the stream, from the body of its object."""
    message = wire.text(1, event) + wire.delimited(2, wire.delimited(1, body))
    return len(message).to_bytes(4, "big") + message


def read_raw(data: bytes) -> Any:
    """A RawExtension: JSON, or an object in an envelope of its own."""
    for number, _, value in wire.fields(data):
        if number == 1 and isinstance(value, bytes) and len(value):
            return decode(value) if value[:4] == MAGIC else codec.decode_json(value)[0]
    return None


def write_raw(value: Any) -> bytes:
    return wire.delimited(1, codec.encode_json(value))
