"""kubernetes.net.ip: IP addresses of both families, without zones and without those of one family inside the other."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, ClassVar

from kybern.machinery import addresses
from kybern.machinery.causes import quoted
from kybern.machinery.cel import reading, types
from kybern.machinery.cel.functions import Function, Library, Overload
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

IP = types.opaque("net.IP")
_MULTICAST = IPv4Network("224.0.0.0/24")
_LINK4, _LINK6 = IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10")
_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class IpValue:
    TYPE: ClassVar[Type] = IP
    address: addresses.Address

    def size(self) -> int:
        return len(self.address.packed)


def of_string(text: str) -> IpValue:
    try:
        found = addresses.parse(text)
    except addresses.AddressError as problem:
        says = f"IP Address {quoted(text)} parse error during conversion from string: {problem}"
        raise EvaluationError(says) from None
    if isinstance(found, IPv6Address):
        if found.scope_id:
            raise EvaluationError(f"IP address {quoted(text)} with zone value is not allowed")
        if found.ipv4_mapped:
            raise EvaluationError(f"IPv4-mapped IPv6 address {quoted(text)} is not allowed")
    return IpValue(found)


def is_ip(text: str) -> bool:
    try:
        of_string(text)
    except EvaluationError:
        return False
    return True


def is_canonical(text: str) -> bool:
    return str(of_string(text).address) == text


def is_link_multicast(value: IpValue) -> bool:
    found = value.address
    if isinstance(found, IPv4Address):
        return found in _MULTICAST
    # The scope is in the second byte, the flags before it may be any.
    return found.packed[0] == 0xFF and found.packed[1] & 0x0F == 2


def is_link_unicast(value: IpValue) -> bool:
    found = value.address
    return found in _LINK4 if isinstance(found, IPv4Address) else found in _LINK6


def is_global_unicast(value: IpValue) -> bool:
    """As Go has it: private addresses are global, too."""
    found = value.address
    special = found.is_unspecified or found.is_loopback or found.is_multicast or found == _BROADCAST
    return not special and not is_link_unicast(value)


def _member(name: str, overload: str, result: Type, call: Callable[[IpValue], Any]) -> Function:
    return Function(name, (Overload(overload, (IP,), result, call, member=True),))


def _read(overload: str, result: Type, call: Callable[[str], Any], times: int = 1) -> Overload:
    return Overload(
        overload, (types.STRING,), result, call, estimate=reading.estimate(times), count=reading.count(times)
    )


LIBRARY = Library(
    "kubernetes.net.ip",
    (
        Function("ip", (_read("string_to_ip", IP, of_string),)),
        Function("isIP", (_read("is_ip", types.BOOL, is_ip),)),
        Function("ip.isCanonical", (_read("ip_is_canonical", types.BOOL, is_canonical, 2),)),
        _member("family", "ip_family", types.INT, lambda value: value.address.version),
        _member("isUnspecified", "ip_is_unspecified", types.BOOL, lambda value: value.address.is_unspecified),
        _member("isLoopback", "ip_is_loopback", types.BOOL, lambda value: value.address.is_loopback),
        _member("isLinkLocalMulticast", "ip_is_link_local_multicast", types.BOOL, is_link_multicast),
        _member("isLinkLocalUnicast", "ip_is_link_local_unicast", types.BOOL, is_link_unicast),
        _member("isGlobalUnicast", "ip_is_global_unicast", types.BOOL, is_global_unicast),
        Function(
            "string", (Overload("ip_to_string", (IP,), types.STRING, lambda value: str(value.address)),)
        ),
    ),
    (IP,),
)
