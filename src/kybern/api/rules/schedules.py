"""When cron jobs start: five fields or a descriptor, in a time zone by its IANA name."""

import zoneinfo
from collections.abc import Iterator
from functools import lru_cache

from kybern.api.rules.causes import all_invalid, invalid
from kybern.machinery import cron
from kybern.machinery.errors import Cause

_ZONED = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
_EXPLICIT = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"


def schedule(field: str, text: str) -> Iterator[Cause]:
    if "TZ" in text:
        yield invalid(field, text, _ZONED)
        return
    try:
        cron.parse(text)
    except ValueError as wrong:
        yield invalid(field, text, str(wrong))


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zone(text: str) -> Iterator[str]:
    if not text:
        yield "timeZone must be nil or non-empty string"
    elif text.lower() == "local":
        yield _EXPLICIT
    elif text not in _zones():
        yield f"unknown time zone {text}"


def zone(field: str, text: str) -> Iterator[Cause]:
    return all_invalid(field, text, _zone(text))
