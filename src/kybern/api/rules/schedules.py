"""When cron jobs start: five fields or a descriptor, in a time zone by its IANA name."""

import zoneinfo
from collections.abc import Iterator
from functools import lru_cache

from kybern.api.rules.causes import all_invalid, invalid
from kybern.machinery.errors import Cause

_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: i for i, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: i for i, name in enumerate(_DAYS)}),
)
_ZONED = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
_EXPLICIT = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _range(text: str, low: int, high: int, names: dict[str, int]) -> None:
    """One part between commas: ``*``, ``5``, ``1-5``, each with an optional step."""
    span, *steps = text.split("/")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    first, last = _ends(span, low, high, names, stepped=bool(steps))
    if steps and _number(steps[0], {}) == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    if first < low:
        raise ValueError(f"beginning of range ({first}) below minimum ({low}): {text}")
    if last > high:
        raise ValueError(f"end of range ({last}) above maximum ({high}): {text}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")


def _ends(span: str, low: int, high: int, names: dict[str, int], *, stepped: bool) -> tuple[int, int]:
    if span in ("*", "?"):
        return low, high
    ends = span.split("-")
    if len(ends) > 2:
        raise ValueError(f"too many hyphens: {span}")
    first, last = _number(ends[0], names), _number(ends[-1], names)
    return first, high if stepped and len(ends) == 1 else last


def parse(text: str) -> None:
    """Whether a schedule can be followed. Raises ValueError in upstream's words."""
    if text.startswith("@"):
        if text not in _DESCRIPTORS and not text.startswith("@every "):
            raise ValueError(f"unrecognized descriptor: {text}")
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            _range(part, low, high, names)


def schedule(field: str, text: str) -> Iterator[Cause]:
    if "TZ" in text:
        yield invalid(field, text, _ZONED)
        return
    try:
        parse(text)
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
