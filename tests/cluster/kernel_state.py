"""What a machine's kernel holds of the network, and whose each line of it is."""

import re

# One line for each thing. The tables of iptables are shown by its own tool, which knows all of their rules.
LOOK = """
nft --stateless list ruleset | grep -v '^#'
for tool in iptables ip6tables; do $tool-save 2>/dev/null | grep -E '^[:-]'; done
ipset list -name 2>/dev/null
ip -o link | cut -d' ' -f2
ip -o address | cut -d' ' -f2-4
for family in -4 -6; do ip $family route show table all; ip $family rule; done
true
"""
# Names that Kybern, Kubernetes and the CNI plugins give; 75 and 76 are the protocol numbers of our routes.
OURS = re.compile(
    r"(^|[\s:])(KUBE|KYBERN|CNI)-|\b(ip6?|inet|bridge) (kube|kybern)-"
    r"|\b(cni0|kube-ipvs0|kybern-\w+|bwp\w+|veth\w+)\b|proto 7[56]\b"
)

# What an operator may have beside us, with names as near to ours as they may be.
FOREIGN = (
    "nft add table inet keep-kybern",
    "nft add set inet keep-kybern kube '{ type ipv4_addr; elements = { 192.0.2.7 }; }'",
    "nft add chain inet keep-kybern in '{ type filter hook input priority 10; }'",
    "nft add rule inet keep-kybern in ip saddr @kube drop",
    "iptables -N MY-KUBE-CHAIN",
    "iptables -A MY-KUBE-CHAIN -s 192.0.2.8 -j DROP",
    "iptables -A INPUT -j MY-KUBE-CHAIN",
    "ip link add mykube0 type bridge",
    # An address that the kernel makes for itself comes a second or two later.
    "ip link set mykube0 addrgenmode none",
    "ip address add 192.0.2.1/24 dev mykube0",
    "ip link set mykube0 up",
    "ip route add 198.51.100.0/24 via 192.0.2.2 dev mykube0 proto 74",
    "ip rule add to 198.51.100.0/24 priority 9000 lookup main",
)
FOREIGN_AWAY = (
    "nft delete table inet keep-kybern",
    "iptables -D INPUT -j MY-KUBE-CHAIN",
    "iptables -F MY-KUBE-CHAIN",
    "iptables -X MY-KUBE-CHAIN",
    "ip rule delete priority 9000",
    "ip link delete mykube0",
)
_FOREIGN = re.compile(r"keep-kybern|MY-KUBE-CHAIN|mykube0|198\.51\.100\.|@kube|192\.0\.2\.7")


def ours(seen: str) -> list[str]:
    """The lines of what ``LOOK`` printed that are Kybern's."""
    return [line for line in seen.splitlines() if OURS.search(line)]


def foreign(seen: str) -> list[str]:
    """Those that ``FOREIGN`` has made, in their order."""
    return [line.strip() for line in seen.splitlines() if _FOREIGN.search(line)]
