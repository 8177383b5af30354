"""Events. The older form is checked little; the newer one, known by its eventTime, wholly, and it hardly changes."""

from collections.abc import Iterator, Mapping
from typing import Any

from kybern.api.rules import within
from kybern.api.rules.causes import IMMUTABLE, all_invalid, invalid, required
from kybern.api.rules.formats import qualified_name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_TYPES = ("Normal", "Warning")
_FIXED = (
    "involvedObject",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)
# how the newer version calls a field, where paths differ
_NEWER = {"reportingComponent": "reportingController"}


def core(new: Raw, old: Raw | None) -> Iterator[Cause]:
    if new.get("eventTime") is None and old is None:
        yield from _namespace(new)
        return
    yield from _namespace(new)
    if new.get("eventTime") is not None:
        yield from _whole(new)


def newer(new: Raw, old: Raw | None) -> Iterator[Cause]:
    renamed = {_OLDER.get(key, key): value for key, value in new.items()}
    yield from _namespace(renamed)
    if old is None:
        if renamed.get("eventTime") is None:
            yield required("eventTime")
        yield from _whole(renamed)
    else:
        was = {_OLDER.get(key, key): value for key, value in old.items()}
        yield from _update(renamed, was)


_OLDER: Mapping[str, str] = {"regarding": "involvedObject", "reportingController": "reportingComponent"}


def _namespace(raw: Raw) -> Iterator[Cause]:
    """An event is where its subject is; those about things without a namespace are in ``default``."""
    own = (raw.get("metadata") or {}).get("namespace", "")
    about = (raw.get("involvedObject") or {}).get("namespace", "")
    if about != own and not (not about and own in ("default", "kube-system")):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")


def _whole(raw: Raw) -> Iterator[Cause]:
    component = raw.get("reportingComponent", "")
    if not component:
        yield required("reportingController")
    yield from all_invalid("reportingController", component, qualified_name(component))
    for key in ("reportingInstance", "action", "reason"):
        if not raw.get(key):
            yield required(key)
    if raw.get("type") not in _TYPES:
        yield invalid("type", "", f"has invalid value: {raw.get('type', '')}")
    if raw.get("series") is not None:
        yield from _series("series", raw["series"])


def _series(field: str, series: Raw) -> Iterator[Cause]:
    if (series.get("count") or 0) < 2:
        yield invalid(f"{field}.count", "", "should be at least 2")
    if series.get("lastObservedTime") is None:
        yield required(f"{field}.lastObservedTime")


def _update(raw: Raw, old: Raw) -> Iterator[Cause]:
    for key in _FIXED:
        if key == "reason" and raw.get(key) != old.get(key):
            # upstream compares the reason twice
            yield invalid(key, _shown(key, raw.get(key)), IMMUTABLE)
        if (raw.get(key) or None) != (old.get(key) or None):
            yield invalid(_NEWER.get(key, key), _shown(key, raw.get(key)), IMMUTABLE)


def _shown(key: str, value: Any) -> Any:
    """A field as upstream's messages show it: a subject is an object of the type within, a time may be nothing."""
    if key in ("involvedObject", "related"):
        # nothing is there only where the type holds a pointer
        return None if value is None and key == "related" else within.shown("ObjectReference", value or {})
    return value if key == "eventTime" else value or ""
