"""An answer in the form that the client accepts: JSON, YAML, protobuf; whole, as metadata only, or as a table."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api import columns
from kybern.apiserver.answer import Answer, Many, One, Plain
from kybern.apiserver.negotiate import JSON, PROTOBUF, Form
from kybern.apiserver.yamltext import yaml_of
from kybern.machinery.errors import NotAcceptable
from kybern.machinery.kind import Column, Kind, Raw, Table
from kybern.storage.value import decoded, encoded

NAME = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"  # noqa: E501
CREATED = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"  # noqa: E501


def _created(raw: Raw, _now: float) -> list[Any]:
    metadata = raw["metadata"]
    return [metadata.get("name", ""), metadata.get("creationTimestamp", "<unknown>")]


DEFAULT = Table((Column("Name", "string", "name", NAME), Column("Created At", "date", "", CREATED)), _created)


class Renderer:
    """Makes bodies of one request. ``include`` is what a table's rows hold of the object: None, Metadata or Object."""

    def __init__(self, form: Form, now: float, include: str = "") -> None:
        self.form = form
        self.now = now
        self.include = include or "Metadata"

    def body(self, answer: Answer) -> tuple[bytes, str]:
        """The bytes and their content type."""
        form = self.form
        if form.media == JSON and not form.pretty and not (form.shape and not isinstance(answer, Plain)):
            return plain(answer), JSON
        value = self.value(answer)
        if form.media == PROTOBUF:
            # Its tables are loaded when the first client asks for this form.
            from kybern.machinery import protobuf  # noqa: PLC0415

            return protobuf.encode(value), PROTOBUF
        if form.media == JSON:
            return _json(value, pretty=form.pretty), JSON
        return yaml_of(value), form.media

    def value(self, answer: Answer) -> Raw:
        if isinstance(answer, Plain):
            return answer.raw
        if not self.form.shape:
            return decoded(plain(answer))
        _check_shape(self.form.shape, answer)
        if self.form.shape == "Table":
            return self._table(answer)
        return self._partial(answer)

    def _partial(self, answer: One | Many) -> Raw:
        version = f"meta.k8s.io/{self.form.version}"
        if isinstance(answer, One):
            return _metadata(decoded(answer.body), version)
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": version,
            "metadata": list_metadata(answer),
            "items": [_metadata(decoded(item), version) for item in answer.items],
        }

    def _table(self, answer: One | Many) -> Raw:
        if isinstance(answer, One):
            raw = decoded(answer.body)
            version = raw["metadata"].get("resourceVersion", "")
            metadata: Raw = {"resourceVersion": version} if version else {}
            return self.table(answer.kind, [raw], metadata)
        start = answer.kind.api_version, answer.kind.kind
        rows = ({"apiVersion": start[0], "kind": start[1], **decoded(item)} for item in answer.items)
        return self.table(answer.kind, rows, list_metadata(answer))

    def table(self, kind: Kind, objects: Iterable[Raw], metadata: Raw, *, headers: bool = True) -> Raw:
        """A table of objects that have apiVersion and kind."""
        table = kind.table or DEFAULT
        texts = columns.described(kind) if headers else {}
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self.form.version}",
            "metadata": metadata,
            "columnDefinitions": [_column(column, texts) for column in table.columns] if headers else None,
            "rows": [self._row(table, raw) for raw in objects],
        }

    def _row(self, table: Table, raw: Raw) -> Raw:
        row: Raw = {"cells": table.cells(raw, self.now)}
        conditions = table.conditions(raw) if table.conditions else None
        if conditions:
            row["conditions"] = conditions
        if self.include == "None":
            row["object"] = None
        elif self.include == "Object":
            row["object"] = raw
        else:
            row["object"] = _metadata(raw, f"meta.k8s.io/{self.form.version}")
            if table.unshown:
                _without(row["object"]["metadata"], table.unshown)
        return row


def _without(metadata: Raw, key: str) -> None:
    annotations = metadata.get("annotations") or {}
    if annotations.pop(key, None) is not None and not annotations:
        del metadata["annotations"]


def _check_shape(shape: str, answer: One | Many) -> None:
    many = isinstance(answer, Many)
    group = answer.kind.group.partition(".")[0] or "core"
    if shape == "PartialObjectMetadata" and many:
        kind = f"*{group}.{answer.kind.kind}List"
        raise NotAcceptable(
            f"you requested PartialObjectMetadata, but the requested object is a list ({kind})"
        )
    if shape == "PartialObjectMetadataList" and not many:
        kind = f"*{group}.{answer.kind.kind}"
        raise NotAcceptable(
            f"you requested PartialObjectMetadataList, but the requested object is not a list ({kind})"
        )


def _metadata(raw: Raw, version: str) -> Raw:
    return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": raw["metadata"]}


def _column(column: Column, texts: Mapping[str, str]) -> Raw:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description or texts.get(column.name, ""),
        "priority": column.priority,
    }


def list_metadata(answer: Many) -> Raw:
    found: Raw = {"resourceVersion": str(answer.revision)}
    if answer.continued:
        found["continue"] = answer.continued
    if answer.remaining:
        found["remainingItemCount"] = answer.remaining
    return found


def plain(answer: Answer) -> bytes:
    """JSON without a detour: objects and items lie there encoded."""
    if isinstance(answer, One):
        return answer.body
    if isinstance(answer, Plain):
        return encoded(answer.raw)
    head: Raw = {
        "kind": answer.kind.listed,
        "apiVersion": answer.kind.api_version,
        "metadata": list_metadata(answer),
    }
    if answer.kind.custom:
        start = encoded({"apiVersion": answer.kind.api_version, "kind": answer.kind.kind})[:-1] + b","
        items = b",".join(start + item[1:] for item in answer.items)
        head["metadata"].setdefault("continue", "")
        return b'%b,"items":[%b]}' % (encoded(head)[:-1], items)
    opened = encoded(head)[:-1] + b',"items":['
    if not answer.items:
        return opened + b"]}"
    # Head and tail go along with the items, so that a long list is copied once.
    parts = list(answer.items)
    parts[0] = opened + parts[0]
    parts[-1] += b"]}"
    return b",".join(parts)


def _json(value: Raw, *, pretty: bool) -> bytes:
    if pretty:
        return json.dumps(value, indent=2, ensure_ascii=False).encode()
    return encoded(value)


def event(kind: str, body: bytes) -> bytes:
    """A frame of a watch."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)
