"""Volumes of the nodes' own disks: kybern-local-volumes on every node, and the default StorageClass.

Needs apiserver, kubeconfig, kubelet. Leaves the daemon running on every node, known to its kubelet as the driver
local.kybern.io, and in the API the driver, the class "local", the rights of the daemons' group, and the policies that keep
each of them to its own node (docs/adr/0020).
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles import api_objects
from roles.api_objects import Object, applied, apply
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-local-volumes.service"
VOLUMES = "/var/lib/kybern-volumes"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1"
# The policies before the rights: at no moment may a daemon do more than it is to.
PLACES = {
    "policy": f"{ADMISSION}/validatingadmissionpolicies/kybern-local-volumes",
    "policybinding": f"{ADMISSION}/validatingadmissionpolicybindings/kybern-local-volumes",
    "capacitypolicy": f"{ADMISSION}/validatingadmissionpolicies/kybern-local-volumes-capacity",
    "capacitypolicybinding": f"{ADMISSION}/validatingadmissionpolicybindings/kybern-local-volumes-capacity",
    "clusterrole": f"{RBAC}/clusterroles/system:kybern-local-volumes",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-local-volumes",
    "role": f"{RBAC}/namespaces/kube-system/roles/system:kybern-local-volumes",
    "rolebinding": f"{RBAC}/namespaces/kube-system/rolebindings/system:kybern-local-volumes",
    "csidriver": f"{STORAGE}/csidrivers/local.kybern.io",
    "storageclass": f"{STORAGE}/storageclasses/local",
}


@deploy("local volumes")
def local_volumes(machine: Machine) -> None:
    service = unit(machine, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


@deploy("storage class")
def storage_class(cluster: Cluster) -> None:
    """What the API is to have."""
    wanted = objects()
    bundle(name="Files", files=[one.file for one in wanted])
    once(
        name="Driver, class and rights",
        probe=applied(cluster, wanted),
        command=apply(cluster, wanted),
        _serial=True,
    )


def unit(machine: Machine, programs: str) -> Service:
    text = render(
        "local_volumes/kybern-local-volumes.service",
        machine=machine,
        programs=programs,
        kubeconfig=path("local-volumes"),
        volumes=VOLUMES,
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text),), wait=False)


def objects() -> tuple[Object, ...]:
    """In the order of writing."""
    return api_objects.objects("local_volumes", PLACES, {})
