"""Values as text: what ``string()`` gives, and what messages call their types."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import Duration, Optional, Timestamp, Uint

_SECOND = 10**9
# From this power of ten on, Go writes an exponent.
_PLAIN = 6
_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"), (Uint, "uint"), (int, "int"), (float, "double"), (str, "string"), (bytes, "bytes"), (list, "list"),
    (tuple, "list"), (dict, "map"), (Duration, "google.protobuf.Duration"), (Timestamp, "google.protobuf.Timestamp"),
    (Optional, "optional_type"), (Type, "type"),
)  # fmt: skip


def type_name(value: Any) -> str:
    if value is None:
        return "null_type"
    own = getattr(value, "TYPE", None)
    if isinstance(own, Type):
        return own.name
    return next((name for kind, name in _NAMES if isinstance(value, kind)), type(value).__name__)


def double(number: float) -> str:
    """Go's %g: the shortest text that reads as the same number, with an exponent from the seventh digit on."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    sign, digits, _ = Decimal(repr(number)).as_tuple()
    text = "".join(map(str, digits)).strip("0") or "0"
    power = Decimal(repr(number)).adjusted() if number else 0
    minus = "-" if sign else ""
    if -4 <= power < _PLAIN:
        return minus + format(Decimal(repr(abs(number))), "f").removesuffix(".0")
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def duration(value: Duration) -> str:
    """Whole seconds and their parts: ``90s``, ``0.5s``."""
    sign = "-" if value.nanoseconds < 0 else ""
    whole, rest = divmod(abs(value.nanoseconds), _SECOND)
    return f"{sign}{whole}{_fraction(rest)}s"


def timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits as it takes."""
    whole, rest = divmod(value.nanoseconds, _SECOND)
    day, second = divmod(whole, 86400)
    found = datetime.fromordinal(datetime(1970, 1, 1, tzinfo=UTC).toordinal() + day)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{found.year:04d}-{found.month:02d}-{found.day:02d}T{clock}{_fraction(rest)}Z"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
