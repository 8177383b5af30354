"""ConfigMap: configuration that pods read; text and bytes share one space of keys."""

from collections.abc import Iterator

from kybern.api.rules import content
from kybern.api.rules.causes import all_invalid, invalid
from kybern.api.rules.formats import data_key
from kybern.api.rules.tables import simple
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    text, binary = new.get("data") or {}, new.get("binaryData") or {}
    for key in text:
        yield from all_invalid(f"data[{key}]", key, data_key(key))
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from all_invalid(f"binaryData[{key}]", key, data_key(key))
    yield from content.not_too_large("", text.values(), binary.values())
    if old is not None:
        yield from content.frozen(new, old, "data", "binaryData")


KIND = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    namespaced=True,
    schema="io.k8s.api.core.v1.ConfigMap",
    singular="configmap",
    short_names=("cm",),
    storage="configmaps",
    table=simple(
        (Column("Data"),), lambda raw: [len(raw.get("data") or ()) + len(raw.get("binaryData") or ())]
    ),
    rules=Rules(validate=_validate),
    storage_version_hash="qFsyl6wFWjQ=",
)
