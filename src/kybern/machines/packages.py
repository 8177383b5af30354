"""Which Debian packages a machine needs for what it does in its cluster. Pure."""

from kybern.machines.topology import Cluster, Machine

# Everywhere.
GROUND = frozenset({"iptables", "iproute2", "procps", "kmod", "curl", "ca-certificates"})
MEMBER = frozenset({"etcd-server", "etcd-client"})
NODE = frozenset(
    {
        "containerd",
        "runc",
        "containernetworking-plugins",
        "conntrack",
        "nftables",  # for policies, and for kube-proxy in either mode: it takes away what it left in the other one
        "socat",
        "ethtool",
        "python3",
    }
)
IPVS = "ipvs"


def has_balancer(cluster: Cluster, machine: Machine) -> bool:
    """Whether this machine runs haproxy: a lone master has nothing to balance."""
    return machine.is_node and not (machine.is_master and len(cluster.masters) == 1)


def has_ingress(cluster: Cluster, machine: Machine) -> bool:
    return cluster.ingress and machine in cluster.workers


def wanted_packages(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    names = set(GROUND)
    if machine.is_etcd:
        names |= MEMBER
    if machine.is_node:
        names |= NODE
        if cluster.cloud_volumes:
            names.add("e2fsprogs")
        if cluster.proxy_mode == IPVS:
            names.add("ipset")
    if has_balancer(cluster, machine) or has_ingress(cluster, machine):
        names.add("haproxy")
    if machine.is_master and cluster.vip:
        names.add("keepalived")
    if machine.is_master and cluster.cloud:
        names.add("python3-libvirt")
    return tuple(sorted(names))
