"""cloud-controller-manager on a master; one of them leads.

Needs apiserver, kubeconfig. Leaves, where the topology has ``cloud``, the daemon running, the rights of its user in the API,
and what it reaches hypervisors with: all files of the operator's directory ``cloud`` beside ``pki`` (docs/how-to/cloud.md).
Where the topology has it no more, the daemon goes; nodes keep what it gave them. In a container, a relay brings the daemon
to the libvirt of the host.
"""

from pathlib import PurePosixPath

from pyinfra.api import deploy

from kybern.machines.clouds import LOCAL, RELAY, SOCKETS
from kybern.machines.topology import Cluster
from roles import api_objects
from roles.api_objects import Object, applied, apply
from roles.cluster import CLOUD_USER, KUBERNETES, PKI, state
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
        once(
            name="Switched off",
            probe=f"{absent()} && {relay_absent()}",
            command=f"{removal()}; {relay_removal()}",
        )
    if cluster.cloud and cluster.cloud != LOCAL:
        once(name="Relay switched off", probe=relay_absent(), command=relay_removal())


def relay(cluster: Cluster) -> tuple[Service, ...]:
    """Of a container alone: its host's libvirt is nothing that others see."""
    if cluster.cloud != LOCAL:
        return ()
    socket = PurePosixPath(RELAY)
    text = render(
        "cloud/kybern-libvirt.service",
        user=CLOUD_USER,
        folder=socket.parent.name,
        socket=socket,
        sockets=SOCKETS,
    )
    return (Service(RELAY_UNIT, (File(f"/etc/systemd/system/{RELAY_UNIT}", text),)),)


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
        *keys(cluster),
    )
    return Service(UNIT, files, wait=False)


def keys(cluster: Cluster) -> tuple[File, ...]:
    """Certificates or SSH keys for hypervisors elsewhere, under the names that the topology's URIs use."""
    folder = state(cluster) / "cloud"
    found = sorted(one for one in folder.glob("*") if one.is_file()) if folder.is_dir() else []
    return tuple(
        File(f"{KEYS}/{one.name}", one.read_bytes(), mode="600", user=CLOUD_USER, secret=True)
        for one in found
    )


def absent() -> str:
    return f"[ ! -e /etc/systemd/system/{UNIT} ] && [ ! -e {path('cloud')} ] && [ ! -e {KEYS} ]"


def removal() -> str:
    stop = f"if [ -e /etc/systemd/system/{UNIT} ]; then systemctl disable --now --quiet {UNIT}; fi"
    gone = f"rm -rf /etc/systemd/system/{UNIT} /etc/systemd/system/{UNIT}.d {path('cloud')} {KEYS} {CONFIG}"
    return f"{stop}; {gone} && systemctl daemon-reload"


def relay_absent() -> str:
    return f"[ ! -e /etc/systemd/system/{RELAY_UNIT} ]"


def relay_removal() -> str:
    unit = f"/etc/systemd/system/{RELAY_UNIT}"
    stop = f"if [ -e {unit} ]; then systemctl disable --now --quiet {RELAY_UNIT}; fi"
    return f"{stop}; rm -rf {unit} {unit}.d && systemctl daemon-reload"


def objects() -> tuple[Object, ...]:
    """In the order of writing."""
    return api_objects.objects("cloud", PLACES, {})
