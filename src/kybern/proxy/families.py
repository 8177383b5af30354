"""IPv4 and IPv6, as nftables names them."""

from dataclasses import dataclass
from ipaddress import IPv6Address


@dataclass(frozen=True, slots=True)
class Family:
    """``name`` in rules and of tables, ``address`` the type of an address, ``loopback`` what no node port answers at."""

    name: str
    version: int
    address: str
    loopback: str
    title: str


IPV4 = Family("ip", 4, "ipv4_addr", "127.0.0.0/8", "IPv4")
IPV6 = Family("ip6", 6, "ipv6_addr", "::1", "IPv6")
BOTH = (IPV4, IPV6)


def plain(ip: str) -> str:
    """An address as the kernel prints it: one of IPv6 may be written in many ways."""
    return str(IPv6Address(ip)) if ":" in ip else ip


def version_of(ip: str) -> int:
    return 6 if ":" in ip else 4
