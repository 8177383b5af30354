"""Pools of addresses that services may be given, as the topology and ``--pools`` write them. Pure.

    default=192.168.7.100-192.168.7.119,fd00:7::/120;quiet=192.168.8.0/28

An address belongs to one pool. Of a network, all addresses count, but for IPv4 those that are the network's own and its
broadcast: no host may have them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

type Address = IPv4Address | IPv6Address

DEFAULT = "default"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class BadPool(ValueError):
    """What was written is no pool; the message is one line for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Range:
    """From ``first`` to ``last``, both included, of one version of IP."""

    first: Address
    last: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def __iter__(self) -> Iterator[Address]:
        kind = type(self.first)
        return (kind(number) for number in range(int(self.first), int(self.last) + 1))

    def overlaps(self, other: "Range") -> bool:
        return self.first in other or other.first in self


@dataclass(frozen=True, slots=True)
class Pool:
    name: str
    ranges: tuple[Range, ...]

    def __contains__(self, address: Address) -> bool:
        return any(address in one for one in self.ranges)

    def of(self, version: int) -> Iterator[Address]:
        """Its addresses of one version of IP, in the order in which they are given away."""
        return (address for one in self.ranges if one.first.version == version for address in one)


def parse_range(text: str) -> Range:
    """``A-B``, a network in CIDR notation, or one address."""
    text = text.strip()
    try:
        if "-" in text:
            first, last = (ip_address(part.strip()) for part in text.split("-", 1))
        elif "/" in text:
            first, last = _ends(text)
        else:
            first = last = ip_address(text)
    except ValueError as problem:
        raise BadPool(
            f'"{text}" is no range such as 10.0.0.5-10.0.0.9 or 10.0.0.0/28: {problem}'
        ) from problem
    if first.version != last.version or int(first) > int(last):
        raise BadPool(f'"{text}" ends before it begins; write the lower address first')
    return Range(first, last)


def _ends(text: str) -> tuple[Address, Address]:
    network = ip_network(text)
    first, last = network[0], network[-1]
    if network.version == 4 and network.prefixlen < 31:  # in a /31 and a /32 all are hosts
        return first + 1, last - 1
    return first, last


def pools(written: Mapping[str, tuple[str, ...]]) -> tuple[Pool, ...]:
    """Pools by name, of ranges as text. Refuses names that no label could bear, and ranges that overlap."""
    found: list[Pool] = []
    seen: list[tuple[Range, str]] = []
    for name, texts in written.items():
        if not _NAME.fullmatch(name):
            raise BadPool(f'"{name}" is no name of a pool; use small letters, digits and dashes')
        if not texts:
            raise BadPool(f'pool "{name}" has no addresses; give it a range')
        ranges = tuple(parse_range(text) for text in texts)
        for text, one in zip(texts, ranges, strict=True):
            if clash := next((other for old, other in seen if one.overlaps(old)), ""):
                raise BadPool(f'"{text}" of pool "{name}" is in pool "{clash}" already; take it out of one')
            seen.append((one, name))
        found.append(Pool(name, ranges))
    return tuple(found)


def parse(text: str) -> tuple[Pool, ...]:
    """The value of ``--pools``."""
    written: dict[str, tuple[str, ...]] = {}
    for part in (part for part in text.split(";") if part.strip()):
        name, sign, ranges = part.partition("=")
        if not sign:
            raise BadPool(f'"{part}" is not of the form NAME=RANGE,RANGE')
        if name.strip() in written:
            raise BadPool(f'pool "{name.strip()}" is there twice; write its ranges after one name')
        written[name.strip()] = tuple(one for one in ranges.split(",") if one.strip())
    return pools(written)


def written(found: Mapping[str, tuple[str, ...]]) -> str:
    """The other way round: what ``parse`` reads."""
    return ";".join(f"{name}={','.join(ranges)}" for name, ranges in found.items())
