"""Frames between pods of one node, made packets where the kernel would not show them to the rules otherwise. Pure.

With the module br_netfilter packets on a bridge pass the hooks of IP by themselves. Without it (a container whose host has
not loaded it, a kernel that lacks it) a table of the bridge gives each such frame the bridge's own address: it is taken in,
and goes out again as a packet, with its connection known, through the same rules as any other. Neighbour discovery and
what is for everybody stay frames.
"""

from collections.abc import Iterable

from kybern.policies.records import Network
from kybern.policies.render import family_of
from kybern.policies.table import NAME

_TABLE = f"bridge {NAME}"
REMOVAL = f"add table {_TABLE}\ndelete table {_TABLE}\n"


def upwards(hardware: str, networks: Iterable[Network]) -> str:
    """Input for ``nft -f``. ``hardware`` is the bridge's own address, ``networks`` are those of the pods here."""
    lines = [
        f"add table {_TABLE}",
        f"add chain {_TABLE} upwards {{ type filter hook prerouting priority -300 ; policy accept ; }}",
    ]
    for network in networks:
        name = family_of(str(network)).name
        pair = f"{name} saddr {network} {name} daddr {network}"
        discovery = " meta l4proto != icmpv6" if network.version == 6 else ""
        lines.append(
            f"add rule {_TABLE} upwards meta pkttype other {pair}{discovery} "
            f"ether daddr set {hardware} meta pkttype set host"
        )
    return REMOVAL + "".join(f"{line}\n" for line in lines)
