"""Spans of time as people read them in tables, and as Go writes and reads them in flags and configurations."""

import re
from fractions import Fraction

UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
PART = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def human(seconds: float) -> str:
    """The age or length shown in a table: two or three significant figures, as kubectl shows it."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes = whole // 60
    if minutes < 180:
        return _two(minutes, "m", whole % 60 if minutes < 10 else 0, "s")
    hours = minutes // 60
    if hours < 48:
        return _two(hours, "h", minutes % 60 if hours < 8 else 0, "m")
    return _days(hours)


def _days(hours: int) -> str:
    if hours < 24 * 365 * 2:
        return _two(hours // 24, "d", hours % 24 if hours < 24 * 8 else 0, "h")
    years = hours // 24 // 365
    return _two(years, "y", hours // 24 % 365 if hours < 24 * 365 * 8 else 0, "d")


def _two(large: int, unit: str, small: int, sub: str) -> str:
    return f"{large}{unit}{small}{sub}" if small else f"{large}{unit}"


def parse(text: str) -> int:
    """Nanoseconds of a Go duration such as ``1m30s`` or ``-1.5h``; raises ValueError in Go's words."""
    body = text[1:] if text[:1] in {"-", "+"} else text
    if body == "0":
        return 0
    total, at = Fraction(0), 0
    while at < len(body):
        part = PART.match(body, at)
        if part is None or part[1] in {"", "."}:
            raise ValueError(_wrong(text, body[at:]))
        number = part[1] if part[1][0] != "." else f"0{part[1]}"
        total += Fraction(number.removesuffix(".")) * UNITS[part[2]]
        at = part.end()
    if not body:
        raise ValueError(f'time: invalid duration "{text}"')
    return -int(total) if text[0] == "-" else int(total)


def _wrong(text: str, rest: str) -> str:
    number = re.match(r"[0-9]*\.?[0-9]*", rest)
    assert number is not None
    unit = re.match(r"[^0-9.]*", rest[number.end() :])
    assert unit is not None
    if not number[0].strip("."):
        return f'time: invalid duration "{text}"'
    if not unit[0]:
        return f'time: missing unit in duration "{text}"'
    return f'time: unknown unit "{unit[0]}" in duration "{text}"'


def form(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1m30s``, ``1.5s``, ``100ms``, ``0s``."""
    size = abs(nanoseconds)
    sign = "-" if nanoseconds < 0 else ""
    if size < 10**9:
        for unit, step in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if size >= step:
                return f"{sign}{_decimal(size, step)}{unit}"
        return "0s"
    hours, rest = divmod(size, 3600 * 10**9)
    minutes, rest = divmod(rest, 60 * 10**9)
    seconds = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(size: int, step: int) -> str:
    whole, rest = divmod(size, step)
    fraction = str(step + rest)[1:].rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
