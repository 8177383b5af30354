"""Volumes of the hypervisors' pools: kybern-cloud-volumes on the masters, one of which leads, and a part on every node.

Needs apiserver, kubeconfig, kubelet, cloud. Leaves, where the topology has ``cloud_volumes``, both daemons running, in the
API the driver volumes.kybern.io, the class "cloud" and the rights of the daemon's user, and what it reaches hypervisors
with: all files of the operator's directory ``cloud-volumes`` beside ``pki`` (docs/how-to/cloud-volumes.md). In a container,
a relay brings the daemon to the libvirt of the host. Where the topology has ``cloud`` alone, the daemons go; volumes stay.
"""

from pyinfra.api import deploy

from kybern.machines.clouds import LOCAL, VOLUMES_RELAY
from kybern.machines.topology import Cluster, Machine
from roles import api_objects, hypervisors
from roles.api_objects import Object, applied, apply
from roles.cluster import CLOUD_VOLUMES_USER, KUBERNETES
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.templates import render
from roles.tree import Directory, File, Service

UNIT, RELAY_UNIT = "kybern-cloud-volumes.service", "kybern-libvirt-volumes.service"
NODE_UNIT = "kybern-cloud-volumes-node.service"
CONFIG = "/etc/kybern/cloud-volumes/libvirt.yaml"
KEYS = f"{KUBERNETES}/cloud-volumes"
OWN = (path("cloud-volumes"), KEYS)
EVERY = (UNIT, NODE_UNIT, RELAY_UNIT)
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYSTEM = f"{RBAC}/namespaces/kube-system"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1"
SNAPSHOTS = "snapshot.storage.k8s.io"
KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "system:kybern-cloud-volumes"
# The policy before the rights: at no moment may the daemon do more than it is to.
PLACES = {
    "policy": f"{ADMISSION}/validatingadmissionpolicies/kybern-cloud-volumes",
    "policybinding": f"{ADMISSION}/validatingadmissionpolicybindings/kybern-cloud-volumes",
    "clusterrole": f"{RBAC}/clusterroles/{NAME}",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/{NAME}",
    "role": f"{SYSTEM}/roles/{NAME}",
    "rolebinding": f"{SYSTEM}/rolebindings/{NAME}",
    "snapshots": f"{KINDS}/volumesnapshots.{SNAPSHOTS}",
    "snapshotcontents": f"{KINDS}/volumesnapshotcontents.{SNAPSHOTS}",
    "snapshotclasses": f"{KINDS}/volumesnapshotclasses.{SNAPSHOTS}",
    "snapshotclass": f"/apis/{SNAPSHOTS}/v1/volumesnapshotclasses/cloud",
    "csidriver": f"{STORAGE}/csidrivers/volumes.kybern.io",
    "storageclass": f"{STORAGE}/storageclasses/cloud",
}


@deploy("cloud volume class")
def cloud_volume_class(cluster: Cluster) -> None:
    """What the API is to have."""
    wanted = objects(cluster)
    bundle(name="Files", files=[one.file for one in wanted])
    once(
        name="Driver, class and rights",
        probe=applied(cluster, wanted),
        command=apply(cluster, wanted),
        _serial=True,
    )


@deploy("cloud volumes")
def cloud_volumes(cluster: Cluster, machine: Machine) -> None:
    if cluster.cloud_volumes:
        services = wanted(cluster, machine, here().programs)
        bundle(name="Unit", files=[Directory(KEYS), *(file for one in services for file in one.files)])
        units(name="Running", services=services)
    else:
        once(name="Switched off", probe=absent(), command=removal())
    if cluster.cloud_volumes and cluster.cloud != LOCAL and machine.is_master:
        once(name="Relay switched off", probe=relay_absent(), command=relay_removal())


def wanted(cluster: Cluster, machine: Machine, programs: str) -> list[Service]:
    master = [*relay(cluster), unit(cluster, programs)] if machine.is_master else []
    return [*master, *([node_unit(machine, programs)] if machine.is_node else [])]


def relay(cluster: Cluster) -> tuple[Service, ...]:
    """Of a container alone."""
    if cluster.cloud != LOCAL:
        return ()
    template = "cloud_volumes/kybern-libvirt-volumes.service"
    return (hypervisors.relay(template, RELAY_UNIT, VOLUMES_RELAY, CLOUD_VOLUMES_USER),)


def unit(cluster: Cluster, programs: str) -> Service:
    text = render(
        "cloud_volumes/kybern-cloud-volumes.service",
        cluster=cluster,
        programs=programs,
        user=CLOUD_VOLUMES_USER,
        config=CONFIG,
        kubeconfig=path("cloud-volumes"),
    )
    files = (
        File(f"/etc/systemd/system/{UNIT}", text),
        File(CONFIG, render("cloud_volumes/libvirt.yaml", cluster=cluster)),
        *hypervisors.keys(cluster, "cloud-volumes", KEYS, CLOUD_VOLUMES_USER),
    )
    return Service(UNIT, files, wait=False)


def node_unit(machine: Machine, programs: str) -> Service:
    text = render("cloud_volumes/kybern-cloud-volumes-node.service", machine=machine, programs=programs)
    return Service(NODE_UNIT, (File(f"/etc/systemd/system/{NODE_UNIT}", text),), wait=False)


def absent() -> str:
    return hypervisors.absent(EVERY, *OWN)


def removal() -> str:
    return hypervisors.removal(EVERY, *OWN, CONFIG)


def relay_absent() -> str:
    return hypervisors.absent((RELAY_UNIT,))


def relay_removal() -> str:
    return hypervisors.removal((RELAY_UNIT,))


def objects(cluster: Cluster) -> tuple[Object, ...]:
    """In the order of writing."""
    pool = cluster.cloud_volumes.pool if cluster.cloud_volumes else ""
    return api_objects.objects("cloud_volumes", PLACES, {"pool": pool})
