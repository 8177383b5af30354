"""The few chains of iptables that virtual servers need beside them, the same whatever the services are. Pure.

Names are upstream's (pkg/proxy/ipvs/proxier.go). Services change the sets that the rules ask, never the rules. A packet to a
service goes in to the node (INPUT), since the address is the node's; there IPVS gives it another destination, and it goes
out again (OUTPUT, POSTROUTING). Answers are forwarded.
"""

from kybern.proxy.ipvs import sets
from kybern.proxy.rules import MARK, MASQUERADE, Chains, Settings

FIXED = {
    "filter": (
        "KUBE-FORWARD",
        "KUBE-IPVS-FILTER",
        "KUBE-IPVS-OUT-FILTER",
        "KUBE-NODE-PORT",
        "KUBE-PROXY-FIREWALL",
        "KUBE-SOURCE-RANGES-FIREWALL",
    ),
    "nat": ("KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ", "KUBE-NODE-PORT", "KUBE-POSTROUTING", "KUBE-SERVICES"),
}
_NEW = "-m conntrack --ctstate NEW -m comment --comment"
# Where the other backend of iptables has the same jump, it is written the same.
JUMPS = (
    ("filter", "INPUT", f'{_NEW} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'),
    ("filter", "INPUT", '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER'),
    ("filter", "INPUT", '-m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT'),
    ("filter", "FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
    ("filter", "FORWARD", f'{_NEW} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'),
    ("filter", "OUTPUT", '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER'),
    ("nat", "PREROUTING", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    ("nat", "OUTPUT", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    ("nat", "POSTROUTING", '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'),
)
# What upstream says of a set in the rules that ask it.
COMMENTS = {
    sets.LOOP_BACK: "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    sets.CLUSTER_IP: "Kubernetes service cluster ip + port for masquerade purpose",
    sets.EXTERNAL_IP: "Kubernetes service external ip + port for masquerade and filter purpose",
    sets.EXTERNAL_IP_LOCAL: "Kubernetes service external ip + port with externalTrafficPolicy=local",
    sets.BALANCER: "Kubernetes service lb portal",
    sets.BALANCER_LOCAL: "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
    sets.GUARDED: "Kubernetes service load balancer ip + port for load balancer with sourceRange",
    sets.HEALTH_PORT: "Kubernetes health check node port",
}
_SERVED = (sets.BALANCER, sets.CLUSTER_IP, sets.EXTERNAL_IP, sets.EXTERNAL_IP_LOCAL)
_FROM_HERE = "-m addrtype --src-type LOCAL"


def tables(settings: Settings, version: int) -> dict[str, Chains]:
    """All chains and their rules, by table. A rule is what stands after ``-A CHAIN``."""

    def asked(name: str, ends: str = "dst,dst") -> str:
        told = f"{noted(COMMENTS[name])} " if name in COMMENTS else ""
        return f"{told}-m set --match-set {sets.full_name(name, version)} {ends}"

    return {
        "filter": {
            "KUBE-FORWARD": [
                f"{noted('kubernetes forwarding rules')} -m mark --mark {MASQUERADE} -j ACCEPT",
                f"{noted('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            ],
            # Ranges are looked at here, too: another one's jump may stand before that to the firewall.
            "KUBE-IPVS-FILTER": [
                f"-m conntrack --ctstate NEW {asked(sets.GUARDED)} -j KUBE-SOURCE-RANGES-FIREWALL",
                *(f"{asked(name)} -j ACCEPT" for name in _SERVED),
                f"{asked(sets.HEALTH_PORT, 'dst')} -j RETURN",
                *_refused(version),
            ],
            "KUBE-IPVS-OUT-FILTER": [
                *(f"{asked(name)} -j RETURN" for name in _SERVED),
                f"{asked(sets.HEALTH_PORT, 'dst')} -j RETURN",
                *_refused(version),
            ],
            "KUBE-NODE-PORT": [
                f"{asked(sets.HEALTH_PORT, 'dst')} -j ACCEPT",
                *(f"{one} -m addrtype --dst-type LOCAL -j ACCEPT" for one in _node_ports(version)),
            ],
            "KUBE-PROXY-FIREWALL": [f"{asked(sets.GUARDED)} -j KUBE-SOURCE-RANGES-FIREWALL"],
            "KUBE-SOURCE-RANGES-FIREWALL": [
                f"{asked(sets.SOURCE_CIDR, 'dst,dst,src')} -j RETURN",
                f"{asked(sets.SOURCE_IP, 'dst,dst,src')} -j RETURN",
                "-j DROP",
            ],
        },
        "nat": {
            "KUBE-LOAD-BALANCER": [
                # The source of what the node itself sends is the balancer's address, which others have as well.
                f"{asked(sets.BALANCER_LOCAL)} {_FROM_HERE} -j KUBE-MARK-MASQ",
                f"{asked(sets.BALANCER_LOCAL)} -j RETURN",
                "-j KUBE-MARK-MASQ",
            ],
            "KUBE-MARK-MASQ": [f"-j MARK --or-mark {MARK}"],
            "KUBE-NODE-PORT": [
                *(f"{one} {_FROM_HERE} -j KUBE-MARK-MASQ" for one in _node_ports(version, local=True)),
                *(f"{one} -j RETURN" for one in _node_ports(version, local=True)),
                *(f"{one} -j KUBE-MARK-MASQ" for one in _node_ports(version)),
            ],
            "KUBE-POSTROUTING": [
                f"{asked(sets.LOOP_BACK, 'dst,dst,src')} -j MASQUERADE",
                f"-m mark ! --mark {MASQUERADE} -j RETURN",
                f"-j MARK --xor-mark {MARK}",
                f"{noted('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
            ],
            "KUBE-SERVICES": [
                f"-s {'127.0.0.0/8' if version == 4 else '::1/128'} -j RETURN",
                f"{asked(sets.BALANCER)} -j KUBE-LOAD-BALANCER",
                f"{_outsiders(settings, version)}{asked(sets.CLUSTER_IP)} -j KUBE-MARK-MASQ",
                f"{asked(sets.EXTERNAL_IP)} -j KUBE-MARK-MASQ",
                f"{asked(sets.EXTERNAL_IP_LOCAL)} {_FROM_HERE} -j KUBE-MARK-MASQ",
                *(f"{asked(name)} -j ACCEPT" for name in _SERVED),
                "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
            ],
        },
    }


def noted(text: str) -> str:
    return f'-m comment --comment "{text}"'


def _outsiders(settings: Settings, version: int) -> str:
    """Which callers of cluster IPs must look as if they came from this node: those that are no pods."""
    return "" if settings.masquerade_all else f"! -s {settings.pod_network(version)} "


def _refused(version: int) -> list[str]:
    """What is sent to a service's address and to none of its ports must not reach what listens on the node."""
    ips = sets.full_name(sets.IPS, version)
    return [f"-m conntrack --ctstate NEW -m set --match-set {ips} dst -j REJECT"]


def _node_ports(version: int, *, local: bool = False) -> list[str]:
    found = []
    for protocol in ("TCP", "UDP", "SCTP"):
        name = sets.full_name(sets.node_ports(protocol, local=local), version)
        ends = "dst,dst" if protocol == "SCTP" else "dst"
        found.append(f"-p {protocol.lower()} -m set --match-set {name} {ends}")
    return found
