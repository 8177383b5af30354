"""IP addresses and networks as Go's net/netip reads them, with its words for what is wrong.

Python's own reader agrees on what is an address, but for zones, and says other things of what is not.
"""

import re
from ipaddress import IPv4Address, IPv6Address

from kybern.machinery.causes import quoted

type Address = IPv4Address | IPv6Address

_HEX = re.compile(r"[0-9a-fA-F]*", re.ASCII)
_GROUPS = 8


class AddressError(ValueError):
    """Text that is no address; says why in Go's words."""


class _Wrong(Exception):
    """What is wrong, and the rest of the text from there on."""

    def __init__(self, says: str, at: str = "") -> None:
        super().__init__(f"{says} (at {quoted(at)})" if at else says)


def parse(text: str) -> Address:
    """An address, in its zone if it names one; raises AddressError."""
    try:
        return _parse(text)
    except _Wrong as problem:
        raise AddressError(f"ParseAddr({quoted(text)}): {problem}") from None


def parse_network(text: str) -> tuple[Address, int]:
    """An address and the length of its network's prefix; raises AddressError."""
    try:
        return _network(text)
    except (_Wrong, AddressError) as problem:
        raise AddressError(f"netip.ParsePrefix({quoted(text)}): {problem}") from None


def _network(text: str) -> tuple[Address, int]:
    name, slash, bits = text.rpartition("/")
    if not slash:
        raise _Wrong("no '/'")
    found = parse(name)
    if isinstance(found, IPv6Address) and found.scope_id:
        raise _Wrong("IPv6 zones cannot be present in a prefix")
    if not re.fullmatch(r"[0-9]|[1-9][0-9]{1,9}", bits, re.ASCII):
        raise _Wrong(f"bad bits after slash: {quoted(bits)}")
    if int(bits) > found.max_prefixlen:
        raise _Wrong("prefix length out of range")
    return found, int(bits)


def _parse(text: str) -> Address:
    first = re.search(r"[.:%]", text)
    if first is None:
        raise _Wrong("unable to parse IP")
    if first[0] == "%":
        raise _Wrong("missing IPv6 address")
    if first[0] == ".":
        return IPv4Address(bytes(_octets(text)))
    name, percent, zone = text.partition("%")
    if percent and not zone:
        raise _Wrong("zone must be a non-empty string")
    found = IPv6Address(_sixteen(name))
    return IPv6Address(f"{found}%{zone}") if zone else found


def _octets(text: str) -> list[int]:
    found: list[int] = []
    digits = ""
    for at, sign in enumerate(text):
        if sign == ".":
            if not digits or at == len(text) - 1:
                raise _Wrong("IPv4 field must have at least one digit", text[at:])
            if len(found) == 3:
                raise _Wrong("IPv4 address too long")
            found.append(int(digits))
            digits = ""
        else:
            digits = _digit(digits, sign, text[at:])
    if len(found) < 3:
        raise _Wrong("IPv4 address too short")
    return [*found, int(digits)]


def _digit(before: str, sign: str, rest: str) -> str:
    if not ("0" <= sign <= "9"):
        raise _Wrong("unexpected character", rest)
    if before == "0":
        raise _Wrong("IPv4 field has octet with leading zero")
    if int(before + sign) > 255:
        raise _Wrong("IPv4 field has value >255")
    return before + sign


def _sixteen(text: str) -> bytes:
    """The bytes of an IPv6 address without a zone: groups, read from the left, and the place of the gap."""
    rest, found, gap = text, bytearray(), -1
    if rest.startswith("::"):
        rest, gap = rest[2:], 0
    while rest and len(found) < 2 * _GROUPS:
        group = _group(rest)
        if rest[len(group) :].startswith("."):
            _room(len(found), rest, gap)
            found += bytes(_octets(rest))
            rest = ""
            break
        found += int(group, 16).to_bytes(2)
        rest = _separated(rest[len(group) :])
        if rest.startswith(":"):
            if gap >= 0:
                raise _Wrong("multiple :: in address", rest)
            rest, gap = rest[1:], len(found)
    if rest:
        raise _Wrong("trailing garbage after address", rest)
    return _filled(bytes(found), gap)


def _group(rest: str) -> str:
    found = _HEX.match(rest)
    group = found[0] if found else ""
    if len(group) > 4:
        raise _Wrong("each group must have 4 or less digits", rest)
    if not group:
        raise _Wrong("each colon-separated field must have at least one digit", rest)
    return group


def _separated(rest: str) -> str:
    if not rest:
        return ""
    if rest[0] != ":":
        raise _Wrong("unexpected character, want colon", rest)
    if len(rest) == 1:
        raise _Wrong("colon must be followed by more characters", rest)
    return rest[1:]


def _room(taken: int, rest: str, gap: int) -> None:
    if gap < 0 and taken != 12:
        raise _Wrong("embedded IPv4 address must replace the final 2 fields of the address", rest)
    if taken + 4 > 16:
        raise _Wrong("too many hex fields to fit an embedded IPv4 at the end of the address", rest)


def _filled(found: bytes, gap: int) -> bytes:
    missing = 2 * _GROUPS - len(found)
    if not missing:
        if gap >= 0:
            raise _Wrong("the :: must expand to at least one field of zeros")
        return found
    if gap < 0:
        raise _Wrong("address string too short")
    return found[:gap] + bytes(missing) + found[gap:]
