"""The way to the API servers, outside of the cluster: it needs nothing that it leads to.

Needs system, firewall, pki. Leaves

- on the masters, with a virtual address: keepalived, which holds it on a master whose API server is ready;
- on the masters, when there are several: haproxy on :8443, to any master's API server that is ready;
- on the other nodes: haproxy on 127.0.0.1:6443, the same.

The virtual address leads to port 6443 of its holder's own API server. Whether that one is ready is haproxy's finding,
which keepalived's check asks for on a plain local port: that costs a hundredth of a TLS handshake by a new process each
second. A failing check takes priority and not the right to the address, so a master always holds it.
"""

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.exceptions import OperationError

from kybern.machines.packages import has_balancer
from kybern.machines.topology import Cluster, Machine
from roles.cluster import BALANCER_HEALTH_PORT, BALANCER_PORT, PKI
from roles.facts import Interface
from roles.operations import FACT_SECONDS, bundle, units
from roles.pki import reads
from roles.templates import render
from roles.tree import File, Service

BALANCER = "haproxy.service"
VIRTUAL_ADDRESS = "keepalived.service"
CHECK = "/etc/keepalived/ready"


@deploy("loadbalancer")
def loadbalancer(cluster: Cluster, machine: Machine) -> None:
    services = [balancer(cluster, machine)] if has_balancer(cluster, machine) else []
    if machine.is_master and cluster.vip:
        services.append(virtual_address(cluster, machine, interface(machine)))
    if services:
        bundle(name="Files", files=[file for service in services for file in service.files])
        units(name="Running", services=services)


def balancer(cluster: Cluster, machine: Machine) -> Service:
    conf = render(
        "loadbalancer/haproxy.cfg",
        cluster=cluster,
        machine=machine,
        bind=f"{everywhere(cluster)}:{BALANCER_PORT}"
        if machine.is_master
        else f"127.0.0.1:{cluster.api_port}",
        health=f"127.0.0.1:{BALANCER_HEALTH_PORT}",
        authority=f"{PKI}/ca.crt",
    )
    unit = render("loadbalancer/haproxy.service")
    return Service(
        BALANCER,
        (File("/etc/haproxy/haproxy.cfg", conf), File(f"/etc/systemd/system/{BALANCER}", unit)),
        reads=reads(cluster, machine, f"{PKI}/ca.crt"),
    )


def everywhere(cluster: Cluster) -> str:
    """All of a machine's addresses, as haproxy has them: ``[::]`` stands for those of IPv4, too, such as 127.0.0.1."""
    return "ipv6@::" if cluster.has_no_ipv4 else "0.0.0.0"


def interface(machine: Machine) -> str:
    """Where the machine's own address is: the virtual one goes beside it."""
    name: str = host.get_fact(Interface, str(machine.address), _timeout=FACT_SECONDS)
    if not name:
        raise OperationError(
            f"{machine.name} does not have the address {machine.address} that its topology says"
        )
    return name


def virtual_address(cluster: Cluster, machine: Machine, interface: str) -> Service:
    conf = render(
        "loadbalancer/keepalived.conf",
        cluster=cluster,
        machine=machine,
        others=tuple(master for master in cluster.masters if master != machine),
        priority=100 - cluster.masters.index(machine),
        router=router_id(cluster),
        check=CHECK,
        interface=interface,
    )
    check = render("loadbalancer/ready", port=BALANCER_HEALTH_PORT if has_balancer(cluster, machine) else 0)
    return Service(
        VIRTUAL_ADDRESS,
        (
            File("/etc/keepalived/keepalived.conf", conf),
            File(CHECK, check, mode="755"),
            File(f"/etc/systemd/system/{VIRTUAL_ADDRESS}", render("loadbalancer/keepalived.service")),
        ),
    )


def router_id(cluster: Cluster) -> int:
    """A VRRP number from 1 to 255 that goes with the address: two clusters on one network have different ones."""
    return int(cluster.api_address) % 255 + 1
