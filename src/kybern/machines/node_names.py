"""The cache of names on a node, as long as pods there were told of it: they keep the name servers that they started with.

What a pod was told is in a file that the runtime keeps for each sandbox. While one names the address, the cache stays
on that node, whatever the topology says; the deploy that finds none takes it away (``roles/node_dns.py``).
"""

from ipaddress import IPv4Address, IPv6Address

from kybern.machines.topology import IPV4, Address, Cluster

ADDRESS = IPv4Address("169.254.20.10")  # upstream's, of its NodeLocal DNSCache
# Upstream leaves one of IPv6 to the operator, who is told to take a unique local one.
ADDRESS6 = IPv6Address("fd00:169:254:20::10")
UNIT_FILE = "/etc/systemd/system/kybern-node-dns.service"
_TOLD = "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/*/resolv.conf"


def address_of(cluster: Cluster) -> Address:
    """Where pods of a node ask its cache: of IPv4 wherever they have that."""
    return ADDRESS if IPV4 in cluster.ip_families else ADDRESS6


def is_asked() -> str:
    """A probe that succeeds while a sandbox of this machine names the cache."""
    return f"grep -qswF -e {ADDRESS} -e {ADDRESS6} {_TOLD}"


def question() -> str:
    """Tells, where there is a cache, how many sandboxes name it: ``KYBERN names 3``."""
    return f'[ ! -e {UNIT_FILE} ] || echo "KYBERN names $(grep -lswF -e {ADDRESS} -e {ADDRESS6} {_TOLD} | wc -l)"'


def note(machine: str, sandboxes: int) -> str:
    """What an operator is told of a cache that the topology does not ask for."""
    if sandboxes:
        return (
            f"{machine} keeps its cache of names for {sandboxes} pods that were told of it; "
            "the first deploy after they are gone removes it"
        )
    return f"no pod of {machine} asks its cache of names any more: the next deploy removes it"
