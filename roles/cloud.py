"""cloud-controller-manager on a master; one of them leads.

Needs apiserver, kubeconfig. Leaves, where the topology has ``cloud``, the daemon running, the rights of its user in the API,
and what it reaches hypervisors with: all files of the operator's directory ``cloud`` beside ``pki`` (docs/how-to/cloud.md).
Where the topology has it no more, the daemon goes; nodes keep what it gave them. In a container, a relay brings the daemon
to the libvirt of the host.
"""

from pyinfra.api import deploy

from kybern.machines.clouds import LOCAL, RELAY
from kybern.machines.topology import Cluster
from roles import api_objects, hypervisors
from roles.api_objects import Object, applied, apply
from roles.cluster import CLOUD_USER, KUBERNETES, PKI
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.templates import render
from roles.tree import Directory, File, Service

UNIT, RELAY_UNIT = "cloud-controller-manager.service", "kybern-libvirt.service"
CONFIG = "/etc/kybern/cloud/libvirt.yaml"
KEYS = f"{KUBERNETES}/cloud"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYSTEM = f"{RBAC}/namespaces/kube-system"
OWN = (path("cloud"), KEYS)
PLACES = {
    "clusterrole": f"{RBAC}/clusterroles/system:cloud-controller-manager",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:cloud-controller-manager",
    "role": f"{SYSTEM}/roles/system:cloud-controller-manager",
    "rolebinding": f"{SYSTEM}/rolebindings/system:cloud-controller-manager",
}


@deploy("cloud rights")
def cloud_rights(cluster: Cluster) -> None:
    """What the API is to have."""
    wanted = objects()
    bundle(name="Files", files=[one.file for one in wanted])
    once(name="Rights", probe=applied(cluster, wanted), command=apply(cluster, wanted), _serial=True)


@deploy("cloud")
def cloud(cluster: Cluster) -> None:
    if cluster.cloud:
        services = [*relay(cluster), unit(cluster, here().programs)]
        bundle(name="Unit", files=[Directory(KEYS), *(file for one in services for file in one.files)])
        units(name="Running", services=services)
    else:
        once(name="Switched off", probe=absent(), command=removal())
    if cluster.cloud and cluster.cloud != LOCAL:
        once(name="Relay switched off", probe=relay_absent(), command=relay_removal())


def relay(cluster: Cluster) -> tuple[Service, ...]:
    """Of a container alone."""
    if cluster.cloud != LOCAL:
        return ()
    return (hypervisors.relay("cloud/kybern-libvirt.service", RELAY_UNIT, RELAY, CLOUD_USER),)


def unit(cluster: Cluster, programs: str) -> Service:
    text = render(
        "cloud/cloud-controller-manager.service",
        cluster=cluster,
        programs=programs,
        user=CLOUD_USER,
        pki=PKI,
        config=CONFIG,
        kubeconfig=path("cloud"),
    )
    files = (
        File(f"/etc/systemd/system/{UNIT}", text),
        File(CONFIG, render("cloud/libvirt.yaml", cluster=cluster)),
        *hypervisors.keys(cluster, "cloud", KEYS, CLOUD_USER),
    )
    return Service(UNIT, files, wait=False)


def absent() -> str:
    return hypervisors.absent((UNIT, RELAY_UNIT), *OWN)


def removal() -> str:
    return hypervisors.removal((UNIT, RELAY_UNIT), *OWN, CONFIG)


def relay_absent() -> str:
    return hypervisors.absent((RELAY_UNIT,))


def relay_removal() -> str:
    return hypervisors.removal((RELAY_UNIT,))


def objects() -> tuple[Object, ...]:
    """In the order of writing."""
    return api_objects.objects("cloud", PLACES, {})
