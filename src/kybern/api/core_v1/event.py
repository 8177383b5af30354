"""Event: something that happened to an object. Kept for an hour, shared with events.k8s.io."""

from typing import Any

from kybern.api.rules import happenings
from kybern.api.rules.tables import dig, name, since, text, wide
from kybern.machinery import names
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table

COLUMNS = (
    Column("Last Seen"),
    Column("Type"),
    Column("Reason"),
    Column("Object"),
    wide("Subobject"),
    wide("Source"),
    Column("Message"),
    wide("First Seen"),
    wide("Count"),
    wide("Name", format_="name"),
)

SELECTABLE = {
    "involvedObject.kind": lambda raw: text(dig(raw, "involvedObject", "kind")),
    "involvedObject.namespace": lambda raw: text(dig(raw, "involvedObject", "namespace")),
    "involvedObject.name": lambda raw: text(dig(raw, "involvedObject", "name")),
    "involvedObject.uid": lambda raw: text(dig(raw, "involvedObject", "uid")),
    "involvedObject.apiVersion": lambda raw: text(dig(raw, "involvedObject", "apiVersion")),
    "involvedObject.resourceVersion": lambda raw: text(dig(raw, "involvedObject", "resourceVersion")),
    "involvedObject.fieldPath": lambda raw: text(dig(raw, "involvedObject", "fieldPath")),
    "reason": lambda raw: text(raw.get("reason")),
    "reportingComponent": lambda raw: text(raw.get("reportingComponent")),
    "source": lambda raw: text(dig(raw, "source", "component") or raw.get("reportingComponent")),
    "type": lambda raw: text(raw.get("type")),
}


def cells(raw: Raw, now: float) -> list[Any]:
    """The row of an event as core/v1 has it; events.k8s.io prints the same after conversion."""
    about = raw.get("involvedObject") or {}
    subject = about.get("kind", "").lower()
    if about.get("name"):
        subject += "/" + about["name"]
    seen_first = since(raw.get("firstTimestamp") or raw.get("eventTime"), now)
    last = dig(raw, "series", "lastObservedTime") or raw.get("lastTimestamp")
    return [
        since(last, now) if last else seen_first,
        raw.get("type", ""),
        raw.get("reason", ""),
        subject,
        about.get("fieldPath", ""),
        _source(raw),
        raw.get("message", "").strip(),
        seen_first,
        dig(raw, "series", "count") or raw.get("count") or 1,
        name(raw),
    ]


def _source(raw: Raw) -> str:
    component = dig(raw, "source", "component") or raw.get("reportingComponent", "")
    host = dig(raw, "source", "host") or raw.get("reportingInstance")
    return f"{component}, {host}" if host else component


def _default(raw: Raw) -> None:
    for key in ("involvedObject", "source"):
        raw.setdefault(key, {})
    for key in ("firstTimestamp", "lastTimestamp", "eventTime"):
        raw.setdefault(key, None)
    for key in ("reportingComponent", "reportingInstance"):
        raw.setdefault(key, "")


KIND = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    namespaced=True,
    schema="io.k8s.api.core.v1.Event",
    singular="event",
    short_names=("ev",),
    storage="events",
    selectable=SELECTABLE,
    table=Table(COLUMNS, cells),
    rules=Rules(default=_default, validate=happenings.core),
    allow_create_on_update=True,
    valid_name=names.path_segment,
    storage_version_hash="r2yiGXH7wu8=",
)
