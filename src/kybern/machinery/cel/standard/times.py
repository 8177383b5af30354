"""Parts of times, in UTC or in a zone that is named; spans in whole units."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from kybern.machinery.cel import moments
from kybern.machinery.cel.functions import Function, Overload
from kybern.machinery.cel.types import DURATION, INT, STRING, TIMESTAMP
from kybern.machinery.cel.values import Duration, Timestamp

_PARTS: dict[str, tuple[str, Callable[[datetime], int]]] = {
    "getFullYear": ("year", lambda found: found.year),
    "getMonth": ("month", lambda found: found.month - 1),
    "getDayOfYear": ("day_of_year", lambda found: found.timetuple().tm_yday - 1),
    "getDayOfMonth": ("day_of_month", lambda found: found.day - 1),
    "getDate": ("day_of_month_1_based", lambda found: found.day),
    "getDayOfWeek": ("day_of_week", lambda found: found.isoweekday() % 7),
    "getHours": ("hours", lambda found: found.hour),
    "getMinutes": ("minutes", lambda found: found.minute),
    "getSeconds": ("seconds", lambda found: found.second),
}
_UNITS = {"hours": 3600 * moments.SECOND, "minutes": 60 * moments.SECOND, "seconds": moments.SECOND}
_MILLI = 10**6


def _part(read: Callable[[datetime], int], moment: Timestamp, zone: str = "") -> int:
    return read(moments.there(moment, zone))


def _milliseconds(moment: Timestamp, zone: str = "") -> int:
    moments.there(moment, zone)
    return moment.nanoseconds % moments.SECOND // _MILLI


def _units(size: int, span: Duration) -> int:
    found = abs(span.nanoseconds) // size
    return -found if span.nanoseconds < 0 else found


def _of_time(name: str, call: Callable[..., Any]) -> tuple[Overload, Overload]:
    with_zone = f"timestamp_to_{name}_tz" if name == "seconds" else f"timestamp_to_{name}_with_tz"
    return (
        Overload(f"timestamp_to_{name}", (TIMESTAMP,), INT, call, member=True),
        Overload(with_zone, (TIMESTAMP, STRING), INT, call, member=True),
    )


def _of_span(name: str, size: int) -> Overload:
    return Overload(f"duration_to_{name}", (DURATION,), INT, partial(_units, size), member=True)


def _function(function: str, name: str, read: Callable[[datetime], int]) -> Function:
    spans = (_of_span(name, _UNITS[name]),) if name in _UNITS else ()
    return Function(function, (*_of_time(name, partial(_part, read)), *spans))


FUNCTIONS: tuple[Function, ...] = (
    *(_function(function, *each) for function, each in _PARTS.items()),
    Function("getMilliseconds", (*_of_time("milliseconds", _milliseconds), _of_span("milliseconds", _MILLI))),
)
