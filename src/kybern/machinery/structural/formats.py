"""The formats of strings that schemas may ask for, and whether a text has one. Unknown formats ask for nothing."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date

from kybern.machinery import duration, names, times, url

_HOST = re.compile(
    r"([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9])(\.([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9]))*\.?"
)
_MAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+|.*<[^@\s<>]+@[^@\s<>]+>")
_MAC = re.compile(
    r"([0-9A-Fa-f]{2}([:-]))([0-9A-Fa-f]{2}\2){4}[0-9A-Fa-f]{2}|([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"
)
_UUID = r"[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_COLOR = r"rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*(,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*){2}\)"


def _raises_not(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return holds


def _like(pattern: str, flags: int = 0) -> Callable[[str], bool]:
    compiled = re.compile(pattern, flags)
    return lambda text: compiled.fullmatch(text) is not None


def _bytes(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _digits(text: str) -> list[int]:
    return [10 if sign in "xX" else int(sign) for sign in re.sub(r"[\s-]", "", text)]


def _isbn10(text: str) -> bool:
    if not re.fullmatch(r"[\d\s-]*[\dxX]", text):
        return False
    found = _digits(text)
    return len(found) == 10 and sum((10 - i) * each for i, each in enumerate(found)) % 11 == 0


def _isbn13(text: str) -> bool:
    if not re.fullmatch(r"[\d\s-]+", text):
        return False
    found = _digits(text)
    return len(found) == 13 and sum((3 if i % 2 else 1) * each for i, each in enumerate(found)) % 10 == 0


def _card(text: str) -> bool:
    found = [int(sign) for sign in re.sub(r"\D", "", text)]
    if not 13 <= len(found) <= 19:
        return False
    every = [each if i % 2 == 0 else each * 2 - 9 * (each > 4) for i, each in enumerate(reversed(found))]
    return sum(every) % 10 == 0


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _like(r"[0-9a-fA-F]{24}"),
    "uri": _raises_not(url.parse_request),
    "email": lambda text: _MAIL.fullmatch(text) is not None,
    "hostname": lambda text: len(text) <= 255 and _HOST.fullmatch(text) is not None,
    "ipv4": _raises_not(ipaddress.IPv4Address),
    "ipv6": _raises_not(ipaddress.IPv6Address),
    "cidr": _raises_not(lambda text: ipaddress.ip_interface(text if "/" in text else "no")),
    "mac": lambda text: _MAC.fullmatch(text) is not None,
    "uuid": _like(_UUID % ("[0-9a-f]", "[0-9a-f]"), re.IGNORECASE),
    "uuid3": _like(_UUID % ("3", "[0-9a-f]"), re.IGNORECASE),
    "uuid4": _like(_UUID % ("4", "[89ab]"), re.IGNORECASE),
    "uuid5": _like(_UUID % ("5", "[89ab]"), re.IGNORECASE),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _card,
    "ssn": _like(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _like(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _like(_COLOR),
    "byte": _bytes,
    "password": lambda _text: True,
    "date": _raises_not(lambda text: date.fromisoformat(text if len(text) == 10 else "no")),
    "duration": _raises_not(duration.parse),
    "datetime": _raises_not(times.parse),
    "date-time": _raises_not(times.parse),
    "k8s-short-name": lambda text: not tuple(names.dns1123_label(text)),
    "k8s-long-name": lambda text: not tuple(names.dns1123_subdomain(text)),
}  # fmt: skip
NUMBERS: Mapping[str, tuple[float, float]] = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "float": (-3.4028234663852886e38, 3.4028234663852886e38),
    "double": (float("-inf"), float("inf")),
}
_PLAIN = ("int32", "int64", "float", "double")


def known(name: str) -> bool:
    return name in FORMATS or name in _PLAIN


def fits(name: str, text: str) -> bool:
    """Whether a text has a format; formats that nobody knows fit everything."""
    check = FORMATS.get(name)
    return check is None or check(text)
