"""Who may talk to this machine: iptables rules in a chain of our own.

Needs system. Leaves KYBERN-INPUT, jumped to first from INPUT: what it allows it hands back (RETURN), so that other
chains still have their say, and what it does not know it drops. Nothing else in the tables is touched.

SSH cannot be locked out: its ports are the chain's first rules, established connections the next; the chain is replaced
in one commit, and the jump to it is made only once it is there.

Machines of the cluster may reach each other on all ports but etcd's, which are for members and masters alone: pods on
the host's network, and pods' traffic to other machines (which bears the machine's address), use ports nobody knows
before. Everybody else gets the ports listed here.
"""

from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import deploy

from kybern.machines.packages import has_balancer, has_ingress
from kybern.machines.topology import Address, Cluster, Machine, Network
from roles.cluster import (
    BALANCER_PORT,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    INGRESS_PORTS,
    KUBELET_PORT,
    NODE_PORTS,
)
from roles.operations import bundle, units
from roles.templates import render
from roles.tree import File, Service

RULES = "/etc/kybern/firewall.rules"
RULES6 = "/etc/kybern/firewall6.rules"
LOAD = "/etc/kybern/firewall"
UNIT = "kybern-firewall.service"
SSH = 22


@deploy("firewall")
def firewall(cluster: Cluster, machine: Machine) -> None:
    # The usual port, and the one that this very connection uses.
    ports = {SSH, int(host.data.get("ssh_port") or SSH)}
    service = rules(cluster, machine, tuple(sorted(ports)))
    bundle(name="Rules", files=service.files)
    units(name="In force", services=[service])


def rules(cluster: Cluster, machine: Machine, ssh: tuple[int, ...]) -> Service:
    values = {
        "ssh": ssh,
        "ports": open_ports(cluster, machine),
        "node_ports": NODE_PORTS,
        "etcd_ports": (ETCD_CLIENT_PORT, ETCD_PEER_PORT),
    }
    four, six = sides(cluster)
    tool = "ip6tables" if four is None else "iptables"
    return Service(
        UNIT,
        (
            File(RULES, render("firewall/firewall.rules", side=four, **values)),
            File(RULES6, render("firewall/firewall6.rules", side=six, **values)),
            File(
                LOAD,
                render("firewall/firewall", rules=RULES, rules6=RULES6, four=four, six=six),
                mode="755",
            ),
            File(f"/etc/systemd/system/{UNIT}", render("firewall/kybern-firewall.service", load=LOAD)),
        ),
        alive=f"{tool} -w 10 -C INPUT -j KYBERN-INPUT && {tool} -w 10 -C KYBERN-INPUT -j DROP",
    )


@dataclass(frozen=True, slots=True)
class Side:
    """What the rules of one family know: addresses of machines and of those that may reach etcd, and the pods' network."""

    machines: tuple[Address, ...]
    etcd_clients: tuple[Address, ...]
    pods: Network


def sides(cluster: Cluster) -> tuple[Side | None, Side | None]:
    """Of IPv4 and of IPv6; nothing for one that the machines do not have. etcd is reached by their own network's only."""
    clients = tuple(peer.address for peer in cluster.machines if peer.is_etcd or peer.is_master)
    own = Side(tuple(each.address for each in cluster.machines), clients, cluster.pod_cidr)
    if cluster.has_no_ipv4:
        return None, own
    if cluster.ipv6 is None:
        return own, None
    return own, Side(tuple(cluster.address6(each) for each in cluster.machines), (), cluster.ipv6.pods)


def open_ports(cluster: Cluster, machine: Machine) -> tuple[int, ...]:
    ports = [KUBELET_PORT] if machine.is_node else []
    if has_ingress(cluster, machine):
        ports += INGRESS_PORTS
    if machine.is_master:
        ports.append(cluster.api_port)
        if has_balancer(cluster, machine):
            ports.append(BALANCER_PORT)
    return tuple(sorted(ports))
