"""The configuration that containerd gives to the CNI plugins on this node. Pure.

``bridge`` joins the pods of the node, ``host-local`` hands out addresses of the node's own network, ``portmap`` serves
hostPort, ``bandwidth`` the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth, which the runtime reads and
hands on. Addresses of leaving packets are the node's firewall's business, so ``ipMasq`` is off: a pod on another node sees
the pod's own address.
"""

import json
from collections.abc import Iterable

from kybern.cni.plan import Network

VERSION = "1.0.0"
BRIDGE = "cni0"


def render(pods: Iterable[Network], mtu: int) -> bytes:
    """The conflist of a node whose pods live in ``pods``, one network of each family, on links of ``mtu`` bytes."""
    ranges = [[{"subnet": str(network)}] for network in pods]
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isDefaultGateway": True,
        "forceAddress": True,
        "hairpinMode": True,
        "ipMasq": False,
        "mtu": mtu,
        "ipam": {"type": "host-local", "ranges": ranges, "dataDir": "/run/kybern/cni"},
    }
    # Marked and masqueraded only when the packet comes back to the pod itself; snat=True would hide every caller.
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    bandwidth = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
    content = {"cniVersion": VERSION, "name": "kybern", "plugins": [bridge, portmap, bandwidth]}
    return json.dumps(content, indent=2).encode() + b"\n"
