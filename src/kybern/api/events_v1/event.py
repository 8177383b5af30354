"""Event in its newer form. Stored as core/v1 Event; the two views are of one object."""

from collections.abc import Callable

from kybern.api.core_v1 import event
from kybern.api.rules import happenings
from kybern.machinery.kind import Conversion, Kind, Raw, Rules, Table

# newer name: older name; what is not here has the same name in both
_RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {old: new for new, old in _RENAMED.items()}


def _to_stored(raw: Raw) -> Raw:
    found = {_RENAMED.get(key, key): value for key, value in raw.items()}
    return found | {"apiVersion": "v1"}


def _from_stored(raw: Raw) -> Raw:
    found = {_BACK.get(key, key): value for key, value in raw.items()}
    return found | {"apiVersion": "events.k8s.io/v1"}


# What of core/v1's can be selected here, by its name here. ``source`` is deprecated and not among them.
_FIELDS = {
    ".".join((_BACK.get(first, first), *rest)): key
    for key in event.SELECTABLE
    for first, *rest in [key.split(".")]
    if key != "source"
}


def _selects(key: str) -> Callable[[Raw], str]:
    return lambda raw: event.SELECTABLE[key](_to_stored(raw))


def _default(raw: Raw) -> None:
    raw.setdefault("deprecatedSource", {})
    for key in ("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"):
        raw.setdefault(key, None)


KIND = Kind(
    group="events.k8s.io",
    version="v1",
    kind="Event",
    plural="events",
    namespaced=True,
    schema="io.k8s.api.events.v1.Event",
    singular="event",
    short_names=("ev",),
    storage="events",
    selectable={name: _selects(key) for name, key in _FIELDS.items()},
    table=Table(event.COLUMNS, lambda raw, now: event.cells(_to_stored(raw), now)),
    conversion=Conversion("", "v1", _to_stored, _from_stored, _FIELDS),
    rules=Rules(default=_default, validate=happenings.newer),
    allow_create_on_update=True,
    storage_version_hash="r2yiGXH7wu8=",
)
