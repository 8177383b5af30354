"""The addresses of a node, as its machine's cloud and its kubelet together say; pure.

The rules are those of cloud-provider's node/helpers/address.go and node_controller.go.
"""

from ipaddress import ip_address

from kybern.api.core_v1 import Node, NodeAddress
from kybern.cloud.marks import PROVIDED_IP

HOSTNAME = "Hostname"


class Mismatch(ValueError):
    """The kubelet was told an address that its machine does not have."""


def addresses_of(node: Node, from_cloud: tuple[NodeAddress, ...]) -> tuple[NodeAddress, ...]:
    """What the node's status is to list; raises Mismatch. The host's name is the kubelet's to say, if the cloud does not."""
    found = _preferred(node.metadata.annotations.get(PROVIDED_IP, ""), from_cloud)
    if any(one.type == HOSTNAME for one in found):
        return found
    return (*found, *(one for one in node.status.addresses if one.type == HOSTNAME))


def _preferred(provided: str, from_cloud: tuple[NodeAddress, ...]) -> tuple[NodeAddress, ...]:
    """The provided ones first; others of their type and version of IP are left out, since readers take the first."""
    wanted = [text.strip() for text in provided.split(",") if text.strip()]
    first: list[NodeAddress] = []
    for text in wanted:
        matching = [one for one in from_cloud if one.type != HOSTNAME and _same(one.address, text)]
        if not matching:
            raise Mismatch(f"failed to get node address from cloud provider that matches ip: {text}")
        first += matching
    taken = {_sort(one) for one in first}
    return (*first, *(one for one in from_cloud if one not in first and _sort(one) not in taken))


def _same(address: str, text: str) -> bool:
    try:
        return ip_address(address) == ip_address(text)
    except ValueError:
        return False


def _sort(one: NodeAddress) -> tuple[str, bool]:
    return one.type, ":" in one.address
