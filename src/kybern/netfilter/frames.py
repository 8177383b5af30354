"""Frames between pods of one node, made packets where the kernel would not show them to the rules otherwise.

With the module br_netfilter packets on a bridge pass the hooks of IP by themselves. Without it (a container whose host has
not loaded it, a kernel that lacks it) a table of the bridge gives each such frame the bridge's own address: it is taken in,
and goes out again as a packet, with its connection known, through the same rules as any other. Neighbour discovery and
what is for everybody stay frames.

Two need this: policies, to judge the packets, and Services, whose address an answer gets back only where its connection is
known. Each has a table of its own, so that neither depends on the other; the second of them finds nothing left to do.
"""

import fcntl
import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

_SHOWS = tuple(Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}") for name in ("iptables", "ip6tables"))
_GET_ADDRESS = 0x8927  # SIOCGIFHWADDR (linux/sockios.h)


def removal(name: str) -> str:
    """Input for ``nft -f`` after which there is no table ``name`` of the bridge, whether there was one or not."""
    return f"add table bridge {name}\ndelete table bridge {name}\n"


def upwards(name: str, hardware: str, networks: Iterable[IPv4Network | IPv6Network]) -> str:
    """Input for ``nft -f``. ``hardware`` is the bridge's own address, ``networks`` are those of the pods here. Pure."""
    lines = [
        f"add table bridge {name}",
        f"add chain bridge {name} upwards {{ type filter hook prerouting priority -300 ; policy accept ; }}",
    ]
    for network in networks:
        family = "ip6" if network.version == 6 else "ip"
        pair = f"{family} saddr {network} {family} daddr {network}"
        discovery = " meta l4proto != icmpv6" if network.version == 6 else ""
        lines.append(
            f"add rule bridge {name} upwards meta pkttype other {pair}{discovery} "
            f"ether daddr set {hardware} meta pkttype set host"
        )
    return removal(name) + "".join(f"{line}\n" for line in lines)


def are_shown() -> bool:
    """Whether the hooks of IP see what goes from pod to pod within a bridge."""
    return all(one.exists() and one.read_text().strip() == "1" for one in _SHOWS)


def hardware(link: str) -> str:
    """The hardware address of a link; "" when there is no such link (yet)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            answer = fcntl.ioctl(asked, _GET_ADDRESS, link.encode().ljust(40, b"\0"))
        except OSError:
            return ""
    return answer[18:24].hex(":")
