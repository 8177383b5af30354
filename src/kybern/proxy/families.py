"""IPv4 and IPv6, as nftables names them, and the programs that iptables has for each."""

from dataclasses import dataclass
from ipaddress import IPv6Address


@dataclass(frozen=True, slots=True)
class Family:
    """``name`` in rules and of tables, ``address`` the type of an address, ``loopback`` what no node port answers at.

    ``save`` and ``restore`` are the programs that print and write the tables of iptables; ``length`` is that of an address.
    """

    name: str
    version: int
    address: str
    loopback: str
    title: str
    save: str
    restore: str
    length: int


IPV4 = Family("ip", 4, "ipv4_addr", "127.0.0.0/8", "IPv4", "iptables-save", "iptables-restore", 32)
IPV6 = Family("ip6", 6, "ipv6_addr", "::1", "IPv6", "ip6tables-save", "ip6tables-restore", 128)
BOTH = (IPV4, IPV6)


def plain(ip: str) -> str:
    """An address as the kernel prints it: one of IPv6 may be written in many ways."""
    return str(IPv6Address(ip)) if ":" in ip else ip


def version_of(ip: str) -> int:
    return 6 if ":" in ip else 4


def family_of(ip: str) -> Family:
    return IPV6 if ":" in ip else IPV4
