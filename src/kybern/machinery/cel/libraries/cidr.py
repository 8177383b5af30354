"""kubernetes.net.cidr: networks, and what lies in them. The address keeps the bits behind the prefix until it is masked."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from kybern.machinery import addresses
from kybern.machinery.causes import quoted
from kybern.machinery.cel import measures, reading, types
from kybern.machinery.cel.functions import Count, Estimate, Function, Library, Overload, Range
from kybern.machinery.cel.libraries import ip
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

CIDR = types.opaque("net.CIDR")
_BYTES = Range(4, 16)
_SAYS = "network address parse error during conversion from string: "


@dataclass(frozen=True, slots=True)
class CidrValue:
    TYPE: ClassVar[Type] = CIDR
    address: addresses.Address
    bits: int

    def size(self) -> int:
        return -(-self.bits // 8)

    @property
    def network(self) -> Any:
        return ipaddress.ip_network((self.address, self.bits), strict=False)


def of_string(text: str) -> CidrValue:
    try:
        address, bits = addresses.parse_network(text)
    except addresses.AddressError as problem:
        raise EvaluationError(f"{_SAYS}{_SAYS}{problem}") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        raise EvaluationError(f"{_SAYS}IPv4-mapped IPv6 address {quoted(text)} is not allowed")
    return CidrValue(address, bits)


def is_cidr(text: str) -> bool:
    try:
        of_string(text)
    except EvaluationError:
        return False
    return True


def contains_ip(value: CidrValue, other: ip.IpValue) -> bool:
    return other.address in value.network


def contains_ip_text(value: CidrValue, text: str) -> bool:
    return contains_ip(value, ip.of_string(text))


def contains(value: CidrValue, other: CidrValue) -> bool:
    same = value.address.version == other.address.version
    return same and value.bits <= other.bits and other.network.subnet_of(value.network)


def contains_text(value: CidrValue, text: str) -> bool:
    return contains(value, of_string(text))


def masked(value: CidrValue) -> CidrValue:
    return CidrValue(value.network.network_address, value.bits)


def _estimate(*, network: bool, text: bool) -> Estimate:
    """Two addresses are compared; a network is masked first; a string is read first."""

    def found(sizes: tuple[Range, ...]) -> Range:
        cost = measures.by(measures.sum_of(_BYTES, _BYTES), measures.TRAVERSAL)
        if network:
            cost = measures.sum_of(cost, measures.by(_BYTES, measures.TRAVERSAL), measures.ONE)
        return measures.sum_of(cost, measures.by(sizes[1], measures.TRAVERSAL)) if text else cost

    return found


def _count(*, network: bool, text: bool) -> Count:
    def found(arguments: tuple[Any, ...], _result: Any) -> int:
        size = arguments[0].size()
        cost = measures.scaled(2 * size, measures.TRAVERSAL)
        if network:
            cost += measures.scaled(size, measures.TRAVERSAL) + 1
        return cost + measures.scaled(len(arguments[1]), measures.TRAVERSAL) if text else cost

    return found


def _inside(name: str, other: Type, call: Callable[..., bool], *, network: bool) -> Overload:
    text = other == types.STRING
    return Overload(
        name, (CIDR, other), types.BOOL, call, member=True,
        estimate=_estimate(network=network, text=text), count=_count(network=network, text=text),
    )  # fmt: skip


def _read(overload: str, result: Type, call: Callable[[str], Any]) -> Overload:
    return Overload(
        overload, (types.STRING,), result, call, estimate=reading.estimate(), count=reading.count()
    )


def _member(overload: str, result: Type, call: Callable[[CidrValue], Any]) -> Overload:
    return Overload(overload, (CIDR,), result, call, member=True)


def _text(value: CidrValue) -> str:
    return f"{value.address}/{value.bits}"


LIBRARY = Library(
    "kubernetes.net.cidr",
    (
        Function("cidr", (_read("string_to_cidr", CIDR, of_string),)),
        Function("isCIDR", (_read("is_cidr", types.BOOL, is_cidr),)),
        Function(
            "containsIP",
            (
                _inside("cidr_contains_ip_string", types.STRING, contains_ip_text, network=False),
                _inside("cidr_contains_ip_ip", ip.IP, contains_ip, network=False),
            ),
        ),
        Function(
            "containsCIDR",
            (
                _inside("cidr_contains_cidr_string", types.STRING, contains_text, network=True),
                _inside("cidr_contains_cidr", CIDR, contains, network=True),
            ),
        ),
        Function("ip", (_member("cidr_ip", ip.IP, lambda value: ip.IpValue(value.address)),)),
        Function("prefixLength", (_member("cidr_prefix_length", types.INT, lambda value: value.bits),)),
        Function("masked", (_member("cidr_masked", CIDR, masked),)),
        Function("string", (Overload("cidr_to_string", (CIDR,), types.STRING, _text),)),
    ),
    (CIDR,),
)
