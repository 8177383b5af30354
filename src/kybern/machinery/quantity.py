"""Quantities such as ``500m`` or ``1.5Gi``: exact, ordered, and written the one way upstream writes them.

An amount is a whole number of nanos, the smallest step upstream keeps; smaller parts are rounded away from zero when
read. The format (decimal, binary, exponent) is remembered, because it decides the spelling of the result. Upstream
keeps the sender's spelling where it takes that for canonical already; ``parse`` does the same, so that what a client
reads back is byte for byte what the Go server would have answered.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

NANO = 10**9
MAX_BINARY = (2**63 - 1) * NANO
SPELLING = re.compile(r"([+-]?)0*([0-9]*)(\.[0-9]*)?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
DECIMAL_SUFFIX = {power: suffix for suffix, power in DECIMAL.items()}
BINARY_SUFFIX = {0: ""} | {power: suffix for suffix, power in BINARY.items()}
# Beyond these powers of ten no amount is meaningful, and exact integers would only eat memory.
EXPONENT_LIMIT = 1000
LONGEST = 1000

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_SUFFIX = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """Text that is no quantity; says why in upstream's words."""


class Format(Enum):
    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact amount. Equal and ordered by amount alone: ``1`` equals ``1000m``."""

    nano: int
    format: Format = Format.DECIMAL
    spelling: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nano == other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __lt__(self, other: "Quantity") -> bool:
        return self.nano < other.nano

    def __le__(self, other: "Quantity") -> bool:
        return self.nano <= other.nano

    def __gt__(self, other: "Quantity") -> bool:
        return self.nano > other.nano

    def __ge__(self, other: "Quantity") -> bool:
        return self.nano >= other.nano

    def __bool__(self) -> bool:
        return self.nano != 0

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nano, self.format)

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, in this quantity's format; zero takes the other's, as upstream's Add does."""
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def sign(self) -> int:
        """-1, 0 or 1."""
        return (self.nano > 0) - (self.nano < 0)

    def value(self) -> int:
        """Whole units, rounded away from zero."""
        return _up(self.nano, NANO)

    def milli(self) -> int:
        """Thousandths, rounded away from zero."""
        return _up(self.nano, NANO // 1000)

    def __str__(self) -> str:
        return self.spelling or _canonical(self.nano, self.format)


def _up(amount: int, step: int) -> int:
    return -(-amount // step) if amount >= 0 else amount // step


def _canonical(nano: int, form: Format) -> str:
    if nano == 0:
        return "0"
    if form is Format.BINARY and abs(nano) >= 1024 * NANO and nano % NANO == 0:
        number, power = nano // NANO, 0
        while number % 1024 == 0 and power < 60:
            number, power = number // 1024, power + 10
        return f"{number}{BINARY_SUFFIX[power]}"
    number, power = nano, -9
    limit = EXPONENT_LIMIT if form is Format.EXPONENT else 18
    while number % 1000 == 0 and power < limit:
        number, power = number // 1000, power + 3
    if form is Format.EXPONENT:
        return f"{number}e{power}" if power else str(number)
    return f"{number}{DECIMAL_SUFFIX[power]}"


@lru_cache(maxsize=4096)
def parse(text: str) -> Quantity:
    """Read a quantity; raises QuantityError."""
    found = SPELLING.fullmatch(text) if 0 < len(text) <= LONGEST else None
    if found is None:
        raise QuantityError(WRONG_FORMAT)
    sign, whole, fraction, suffix = found.groups()
    form, power = _suffix(suffix)
    whole, fraction = whole or "0", (fraction or ".")[1:]
    digits = int(whole + fraction)
    if form is Format.BINARY:
        nano = _up((digits << power) * NANO, 10 ** len(fraction))
        nano = min(nano, MAX_BINARY)
    else:
        nano = _scaled(digits, power - len(fraction) + 9)
    kept = text if _kept(form, power, whole, fraction) else ""
    return Quantity(-nano if sign == "-" else nano, form, kept)


def canonical(text: str) -> str:
    """The text as the API answers it."""
    return str(parse(text))


def _suffix(suffix: str) -> tuple[Format, int]:
    if suffix in DECIMAL:
        return Format.DECIMAL, DECIMAL[suffix]
    if suffix in BINARY:
        return Format.BINARY, BINARY[suffix]
    found = EXPONENT.fullmatch(suffix)
    if found is None or abs(power := int(found[1])) > EXPONENT_LIMIT:
        raise QuantityError(WRONG_SUFFIX)
    return Format.EXPONENT, power


def _scaled(digits: int, power: int) -> int:
    return digits * 10**power if power >= 0 else _up(digits, 10**-power)


def short(text: str) -> tuple[int, int] | None:
    """A valid quantity as upstream's short form: an integer of 64 bits and a power of ten; None where it has none."""
    found = SPELLING.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction, suffix = found.groups()
    form, power = _suffix(suffix)
    if not whole and not fraction and not suffix:
        return 0, 0
    whole, fraction = whole or "0", (fraction or ".")[1:]
    number, scale = int(whole + fraction), power - len(fraction)
    room = 18 - len(whole + fraction)
    if form is Format.BINARY:
        room = -1 if fraction else 14 - len(whole) - power * 3 // 10
        number, scale = number << power, 0
    if room < 0 or scale < -9 or number >= 2**63:
        return None
    return (-number if sign == "-" else number), scale


def _kept(form: Format, power: int, whole: str, fraction: str) -> bool:
    """Whether upstream keeps the sender's spelling (the short cut in its parser)."""
    shifted = whole + fraction
    if form is Format.BINARY:
        room = 14 - len(whole) - power * 3 // 10
        return not fraction and room >= 0 and int(shifted) & 7 != 0
    scale = power - len(fraction)
    if len(shifted) > 18 or scale < -9 or scale % 3:
        return False
    return not shifted.endswith("000") and shifted[0] != "0"
