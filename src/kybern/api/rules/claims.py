"""What a persistent volume claim may ask for; stateful sets and ephemeral volumes ask in the same form."""

from collections.abc import Iterator

from kybern.api.rules.amounts import amount
from kybern.api.rules.causes import all_invalid, forbidden, invalid, not_supported, one_of, required
from kybern.api.rules.formats import subdomain
from kybern.api.rules.labels import selector
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_OF_CORE = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"


def modes(field: str, found: list[str]) -> Iterator[Cause]:
    for mode in found:
        if mode not in MODES:
            yield not_supported(field, mode, MODES)
    if "ReadWriteOncePod" in found and len(found) > 1:
        yield forbidden(field, "may not use ReadWriteOncePod with other access modes")


def _source(field: str, source: Raw) -> Iterator[Cause]:
    for key in ("name", "kind"):
        if not source.get(key):
            yield required(f"{field}.{key}")
    kind = source.get("kind", "")
    if not source.get("apiGroup") and kind != "PersistentVolumeClaim":
        yield invalid(field, kind, _OF_CORE)
    elif source.get("apiGroup"):
        yield from all_invalid(field, source["apiGroup"], subdomain(source["apiGroup"]))


def spec(field: str, raw: Raw) -> Iterator[Cause]:
    found = raw.get("accessModes") or []
    if not found:
        yield required(f"{field}.accessModes", "at least 1 access mode is required")
    yield from selector(f"{field}.selector", raw.get("selector"))
    yield from modes(f"{field}.accessModes", found)
    wanted = ((raw.get("resources") or {}).get("requests") or {}).get("storage")
    if wanted is None:
        yield required(f"{field}.resources[storage]")
    else:
        yield from amount(f"{field}.resources[storage]", "storage", wanted)
    for key in ("storageClassName", "volumeAttributesClassName"):
        if raw.get(key):
            yield from all_invalid(f"{field}.{key}", raw[key], subdomain(raw[key]))
    if raw.get("volumeMode"):
        yield from one_of(f"{field}.volumeMode", raw["volumeMode"], ("Block", "Filesystem"))
    yield from _sources(field, raw)


def _sources(field: str, raw: Raw) -> Iterator[Cause]:
    source, reference = raw.get("dataSource"), raw.get("dataSourceRef")
    for key, found in (("dataSource", source), ("dataSourceRef", reference)):
        if found is not None:
            yield from _source(f"{field}.{key}", found)
    if reference is not None and reference.get("namespace"):
        if source is not None:
            text = "may not be specified when dataSourceRef.namespace is specified"
            yield invalid(field, "dataSource", text)
    elif source is not None and reference is not None and not _same(source, reference):
        yield invalid(field, "dataSource", "must match dataSourceRef")


def _same(source: Raw, reference: Raw) -> bool:
    return all(source.get(key) == reference.get(key) for key in ("apiGroup", "kind", "name"))
