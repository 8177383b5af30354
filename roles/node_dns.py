"""A cache of names on each node: kybern-dns without a zone, at an address that only the node's own pods reach.

Needs package, cluster_dns. Leaves the link with the address, and the daemon answering there (docs/adr/0024). The kubelet
tells new pods of it (``roles/kubelet.py``), with the kube-dns Service behind it for when the daemon is down.

Where the topology does not ask for it (any more), neither is left once no pod of the node was told of it: running pods keep
the name servers that they started with. That comes after the kubelet, which tells new pods of the Service alone by then.
"""

from pyinfra import host
from pyinfra.api import deploy

from kybern.machines.node_names import UNIT_FILE, address_of, is_asked
from kybern.machines.topology import Cluster, Machine
from roles.cluster import DNS_USER, NODE_DNS_HEALTH_PORT
from roles.facts import OldNames
from roles.operations import FACT_SECONDS, bundle, once, ready, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-node-dns.service"
LINK_UNIT = "kybern-node-dns-link.service"
CONFIG = "/etc/kybern/node-dns.yaml"
LINK = "kybern-dns"
UNITS = "/etc/systemd/system"
ASKED = "asked"


@deploy("node dns")
def node_dns(cluster: Cluster, machine: Machine) -> None:
    services = [link(cluster), unit(cluster, machine, here().programs)]
    bundle(name="Files", files=[file for service in services for file in service.files])
    units(name="Running", services=services)
    ready(name="Answering", probe=answers(machine), log=UNIT)


@deploy("node dns")
def node_dns_left(cluster: Cluster, machine: Machine) -> None:
    found = host.get_fact(OldNames, f"sh -c '{left()}'", _timeout=FACT_SECONDS)
    if found == ASKED:
        # Of this release, like all other daemons: those of before do not stay on the machine for ever.
        services = [link(cluster), unit(cluster, machine, here().programs)]
        bundle(name="Files, for pods of before", files=[file for one in services for file in one.files])
        units(name="Running, for pods of before", services=services)
    if found:
        once(name="Switched off", probe=f"{{ {absent()}; }} || {is_asked()}", command=removal())


def left() -> str:
    """Prints whether anybody asks the cache that is there; nothing where there is none."""
    return f"{{ {absent()}; }} || {{ {is_asked()} && echo {ASKED} || echo idle; }}"


def answers(machine: Machine) -> str:
    return f"curl -fsS --max-time 3 http://{machine.host}:{NODE_DNS_HEALTH_PORT}/ready"


def link(cluster: Cluster) -> Service:
    address = address_of(cluster)
    text = render("node_dns/kybern-node-dns-link.service", name=LINK, address=address)
    return Service(
        LINK_UNIT,
        (File(f"{UNITS}/{LINK_UNIT}", text),),
        alive=f"ip -o address show dev {LINK} | grep -qwF {address}",
    )


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "node_dns/kybern-node-dns.service",
        machine=machine,
        user=DNS_USER,
        programs=programs,
        config=CONFIG,
        address=address_of(cluster),
        health_port=NODE_DNS_HEALTH_PORT,
        link=LINK_UNIT,
    )
    servers = [str(address) for address in (cluster.dns_address, *(one.address for one in cluster.masters))]
    config = render("node_dns/config.yaml", cluster=cluster, servers=servers)
    return Service(UNIT, (File(UNIT_FILE, text), File(CONFIG, config)))


def absent() -> str:
    return f"[ ! -e {UNIT_FILE} ] && [ ! -e {UNITS}/{LINK_UNIT} ] && [ ! -e {CONFIG} ]"


def removal() -> str:
    """The link goes with its unit."""
    files = " ".join(
        (UNIT_FILE, f"{UNITS}/{UNIT}.d", f"{UNITS}/{LINK_UNIT}", f"{UNITS}/{LINK_UNIT}.d", CONFIG)
    )
    return f"systemctl disable --now --quiet {UNIT} {LINK_UNIT}; rm -rf {files} && systemctl daemon-reload"
