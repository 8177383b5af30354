"""A machine's ``networks``: those beside the first, in the order of its interfaces eth1, eth2 and so on.

networks:
  - {bridge: br-storage, address: 10.50.0.11/24}     # a bridge of the machine's host
  - {network: isolated}                              # a network of its libvirt's; no address: pods or you give it one
"""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import yaml

from kybern.machines.clouds import HYPERVISOR, NAMED
from kybern.machines.fields import Fields, Place, matching
from kybern.machines.hypervisors import BRIDGE, BRIDGED
from kybern.machines.topology import Attached, Cluster, Network

KEYS = ("bridge", "network", "address")
ADDRESS = 'an address with its prefix, such as "10.50.0.11/24"'


def networks_of(path: Path, fields: Fields) -> tuple[Attached, ...]:
    """Raises TopologyError with its line."""
    if fields.node("networks") is None:
        return ()
    return tuple(_one(path, item) for item in fields.items("networks"))


def _one(path: Path, node: yaml.Node) -> Attached:
    fields = Fields(path, node, "a network", KEYS)
    bridge = fields.parse("bridge", matching(BRIDGE), BRIDGED, "")
    network = fields.parse("network", matching(HYPERVISOR), NAMED, "")
    if bool(bridge) == bool(network):
        raise fields.at.error('a network is either a "bridge" or a "network" of libvirt\'s; name one of them')
    address = fields.parse("address", _with_prefix, ADDRESS, None)
    return Attached("bridge" if bridge else "network", bridge or network, address)


def _with_prefix(text: str) -> IPv4Interface | None:
    found = IPv4Interface(text)
    if "/" not in text or found.ip in (found.network.network_address, found.network.broadcast_address):
        raise ValueError(text)
    return found


def check_networks(cluster: Cluster, machines: dict[str, Place]) -> None:
    """No address is another's, and none leads where the cluster's own addresses are."""
    own = (
        ("network", cluster.network),
        ("pods", cluster.pod_cidr),
        ("services", cluster.service_cidr),
    )
    taken: dict[tuple[str, str, object], str] = {}
    for machine in cluster.machines:
        at = machines[machine.name]
        for network, address in _static(machine.networks):
            if clash := _overlap(address.network, own):
                raise at.error(
                    f"{machine.name} has {address} in {network.name}, which overlaps {clash}; choose other addresses"
                )
            key = (network.kind, network.name, address.ip)
            if key in taken:
                raise at.error(
                    f"{machine.name} and {taken[key]} have the same address {address.ip} in {network.name}; change one"
                )
            taken[key] = machine.name


def _static(networks: Iterable[Attached]) -> Iterable[tuple[Attached, IPv4Interface]]:
    return ((network, network.address) for network in networks if network.address is not None)


def _overlap(one: IPv4Network, own: Iterable[tuple[str, Network]]) -> str:
    clashing = (
        f"{name} {cidr}" for name, cidr in own if isinstance(cidr, IPv4Network) and cidr.overlaps(one)
    )
    return next(clashing, "")
