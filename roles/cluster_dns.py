"""Cluster DNS: kybern-dns on the masters, and the kube-dns Service that leads to them.

Needs apiserver, kubeconfig. Leaves the daemon answering on every master, restarted one master at a time, and in the API
the Service at the cluster's DNS address with the rights of the daemon's user. The Service's EndpointSlice is the daemons'
own business (docs/adr/0016).
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles import api_objects
from roles.api_objects import Object, applied, apply
from roles.cluster import DNS_HEALTH_PORT, DNS_USER
from roles.kubeconfig import path
from roles.operations import bundle, once, ready, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-dns.service"
CONFIG = "/etc/kybern/dns.yaml"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PLACES = {
    "clusterrole": f"{RBAC}/clusterroles/system:kybern-dns",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-dns",
    "role": f"{RBAC}/namespaces/kube-system/roles/system:kybern-dns",
    "rolebinding": f"{RBAC}/namespaces/kube-system/rolebindings/system:kybern-dns",
    "service": "/api/v1/namespaces/kube-system/services/kube-dns",
}


@deploy("cluster dns")
def cluster_dns(cluster: Cluster, machine: Machine) -> None:
    service, probe = unit(cluster, machine, here().programs), answers(machine)
    bundle(name="Files", files=service.files)
    units(name="Running, changed ones restarted one at a time", services=[service], gate=probe, _serial=True)
    ready(name="Answering", probe=probe, log=UNIT, _retries=4, _retry_delay=0)


@deploy("dns service")
def dns_service(cluster: Cluster) -> None:
    """What the API is to have. Each master looks, one after the other: the first that answers writes it."""
    wanted = objects(cluster)
    bundle(name="Files", files=[one.file for one in wanted])
    once(
        name="Service and rights",
        probe=applied(cluster, wanted),
        command=apply(cluster, wanted),
        _serial=True,
    )


def answers(machine: Machine) -> str:
    return f"curl -fsS --max-time 3 http://{machine.host}:{DNS_HEALTH_PORT}/ready"


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "cluster_dns/kybern-dns.service",
        cluster=cluster,
        machine=machine,
        user=DNS_USER,
        programs=programs,
        kubeconfig=path("dns"),
        config=CONFIG,
        health_port=DNS_HEALTH_PORT,
    )
    config = render("cluster_dns/config.yaml", cluster=cluster, address=cluster.dns_address)
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text), File(CONFIG, config)), wait=False)


def objects(cluster: Cluster) -> tuple[Object, ...]:
    """In the order of writing: rights before what needs them."""
    values = {
        "address": cluster.dns_address,
        "health_port": DNS_HEALTH_PORT,
        "leases": [f"kybern-dns-{master.name}" for master in cluster.masters],
    }
    return api_objects.objects("cluster_dns", PLACES, values)
