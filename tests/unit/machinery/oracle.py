"""Kubernetes' protobuf by other means: google.protobuf with descriptors made from the facts, and a plain walk over JSON.

What it shares with the product is the facts alone. Messages are written in full: what the facts do not mark as a pointer
is set, zero or not. Maps are lists of their entries here, since google.protobuf does not sort keys as Go does.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

FACTS = Path(__file__).resolve().parents[3] / "generate" / "facts" / "protobuf_fields.json"
META = "k8s.io.apimachinery.pkg.apis.meta.v1"
RUNTIME = "k8s.io.apimachinery.pkg.runtime"
EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1"
_Proto = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Proto.TYPE_STRING,
    "bytes": _Proto.TYPE_BYTES,
    "bool": _Proto.TYPE_BOOL,
    "int32": _Proto.TYPE_INT32,
    "int64": _Proto.TYPE_INT64,
    "double": _Proto.TYPE_DOUBLE,
}
_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "double": 0.0}
_PACKAGES = {
    "": "k8s.io.api.core",
    "meta.k8s.io": "k8s.io.apimachinery.pkg.apis.meta",
    "apiextensions.k8s.io": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "k8s.io.kube_aggregator.pkg.apis.apiregistration",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def packages() -> dict[str, dict[str, list[dict[str, Any]]]]:
    found: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(FACTS.read_text())["packages"]
    return found


def message_of(api_version: str, kind: str) -> str:
    """The full name of a kind's message."""
    group, _, version = api_version.rpartition("/")
    package = f"{_PACKAGES.get(group, 'k8s.io.api.' + group.partition('.')[0])}.{version}"
    return f"{package if kind in packages().get(package, {}) else META}.{kind}"


def _full(kind: str, package: str) -> str:
    return kind.lstrip(".") if "." in kind else f"{package}.{kind}"


@lru_cache(maxsize=1)
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    whole = descriptor_pb2.FileDescriptorProto(name="all", syntax="proto2")
    for package, messages in packages().items():
        for name, rows in messages.items():
            message = whole.message_type.add(name=f"{package}.{name}".replace(".", "_"))
            for row in rows:
                _add(message, row, package)
    pool.Add(whole)
    return pool


def _add(message: Any, row: dict[str, Any], package: str) -> None:
    kind = row["type"]
    repeated = row.get("repeated") or kind.startswith("map<")
    field = message.field.add(
        name=row["name"],
        number=row["n"],
        label=_Proto.LABEL_REPEATED if repeated else _Proto.LABEL_OPTIONAL,
    )
    if kind.startswith("map<"):
        entry = message.nested_type.add(name=f"F{row['n']}Entry")
        entry.field.add(name="key", number=1, label=_Proto.LABEL_OPTIONAL, type=_Proto.TYPE_STRING)
        value = entry.field.add(name="value", number=2, label=_Proto.LABEL_OPTIONAL)
        _typed(value, kind[4:-1].partition(",")[2].strip(), package)
        field.type = _Proto.TYPE_MESSAGE
        field.type_name = f".{message.name}.{entry.name}"
    else:
        _typed(field, kind, package)


def _typed(field: Any, kind: str, package: str) -> None:
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type = _Proto.TYPE_MESSAGE
        field.type_name = "." + _full(kind, package).replace(".", "_")


@lru_cache(maxsize=2048)
def class_of(full: str) -> Any:
    """The message class; its fields are called as in the facts, which is mostly as in JSON."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full.replace(".", "_")))


def build(full: str, value: Any) -> Any:
    """A JSON value as a message."""
    message = class_of(full)()
    package, _, name = full.rpartition(".")
    special = _special(name, value)
    if special is not None:
        for field in message.DESCRIPTOR.fields:
            if field.number in special:
                _set(message, field.name, special[field.number], None, "")
        return message
    for row in packages()[package][name]:
        _fill(message, row, package, value)
    return message


def _fill(message: Any, row: dict[str, Any], package: str, value: Mapping[str, Any]) -> None:
    kind = row["type"]
    each = value if row.get("inline") else value.get(row.get("json") or row["name"])
    if kind.startswith("map<"):
        inner = kind[4:-1].partition(",")[2].strip()
        for key, item in sorted((each or {}).items(), key=lambda pair: str(pair[0]).encode()):
            entry = getattr(message, row["name"]).add()
            _set(entry, "key", key, "string", package)
            _set(entry, "value", item, inner, package)
    elif row.get("repeated"):
        getattr(message, row["name"]).extend(_value(kind, item, package) for item in each or ())
    elif each is not None or not (row.get("pointer") or kind == "bytes"):
        _set(message, row["name"], each, kind, package)


def _value(kind: str, value: Any, package: str) -> Any:
    if kind == "bytes":
        return base64.b64decode(value)
    return value if kind in _TYPES else build(_full(kind, package), value)


def _set(message: Any, field: str, value: Any, kind: str | None, package: str) -> None:
    if kind is None or kind in _TYPES:
        if kind is not None:
            value = _ZEROS[kind] if value is None else _value(kind, value, package)
        if isinstance(value, list):
            getattr(message, field).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(message, field).CopyFrom(value)
        else:
            setattr(message, field, value)
    else:
        inner = getattr(message, field)
        inner.CopyFrom(build(_full(kind, package), value if value is not None else _nothing(kind)))
        inner.SetInParent()


def _nothing(kind: str) -> Any:
    """The zero value of a message by value: most are objects with nothing in them."""
    name = kind.rpartition(".")[2]
    return {"Quantity": "0", "IntOrString": 0}.get(name, None if name in _SPECIAL else {})


def _json(value: Any) -> dict[int, Any]:
    return {} if value is None else {1: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()}


def _time(value: Any) -> dict[int, Any]:
    if value is None:
        return {}
    span = datetime.fromisoformat(value) - EPOCH
    return {1: span // timedelta(seconds=1), 2: span.microseconds * 1000}


def _int_or_string(value: Any) -> dict[int, Any]:
    return {1: 1, 2: 0, 3: value} if isinstance(value, str) else {1: 0, 2: value, 3: ""}


def _schema_or(value: Any) -> dict[int, Any]:
    props = f"{EXTENSIONS}.JSONSchemaProps"
    if isinstance(value, bool):
        return {1: value}
    if isinstance(value, list):
        return {2: [each if isinstance(each, str) else build(props, each) for each in value]}
    return {1: build(props, value)}


def _schema_or_bool(value: Any) -> dict[int, Any]:
    return (
        {1: value} if isinstance(value, bool) else {1: True, 2: build(f"{EXTENSIONS}.JSONSchemaProps", value)}
    )


_SPECIAL: dict[str, Any] = {
    "Quantity": lambda value: {1: value},
    "IntOrString": _int_or_string,
    "Time": _time,
    "MicroTime": _time,
    "FieldsV1": _json,
    "JSON": _json,
    "RawExtension": _json,
    "Verbs": lambda value: {1: list(value)},
    "ExtraValue": lambda value: {1: list(value)},
    "JSONSchemaPropsOrBool": _schema_or_bool,
    "JSONSchemaPropsOrArray": _schema_or,
    "JSONSchemaPropsOrStringArray": _schema_or,
}


def _special(name: str, value: Any) -> dict[int, Any] | None:
    made = _SPECIAL.get(name)
    found: dict[int, Any] | None = made(value) if made else None
    return found


def binary(full: str, value: Any) -> bytes:
    """A JSON value as the bytes of its message, fields and keys in order."""
    found: bytes = build(full, value).SerializeToString(deterministic=True)
    return found


def envelope(value: Mapping[str, Any]) -> bytes:
    """An object as upstream sends and stores it."""
    version, kind = value.get("apiVersion", ""), value["kind"]
    unknown = class_of(f"{RUNTIME}.Unknown")(contentEncoding="", contentType="")
    unknown.typeMeta.apiVersion, unknown.typeMeta.kind = version, kind
    unknown.raw = binary(message_of(version, kind), value)
    found: bytes = b"k8s\0" + unknown.SerializeToString(deterministic=True)
    return found


def opened(body: bytes) -> tuple[str, str, Any]:
    """An object in its envelope: its apiVersion, its kind, its message."""
    assert body[:4] == b"k8s\0", body[:20]
    unknown = class_of(f"{RUNTIME}.Unknown").FromString(body[4:])
    version, kind = unknown.typeMeta.apiVersion, unknown.typeMeta.kind
    return version, kind, class_of(message_of(version, kind)).FromString(unknown.raw)


def events(stream: bytes) -> list[tuple[str, str, Any]]:
    """The frames of a watch: type, kind, message of the object."""
    found = []
    while stream:
        length = int.from_bytes(stream[:4], "big")
        event = class_of(f"{META}.WatchEvent").FromString(stream[4 : 4 + length])
        _, kind, message = opened(event.object.raw)
        found.append((event.type, kind, message))
        stream = stream[4 + length :]
    return found
