"""kube-controller-manager on a master, as a unit or as a static pod; one of them leads.

Needs apiserver, kubeconfig. Leaves it running; it takes up its work when it is elected.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.cluster import CONTROLLER_MANAGER_USER, PKI
from roles.control_plane import image_of
from roles.kubeconfig import path
from roles.operations import bundle, units
from roles.package import here
from roles.pki import reads
from roles.static_pods import StaticPod, pods
from roles.templates import flags, render
from roles.tree import File, Service

NAME, UNIT, PORT = "kube-controller-manager", "kube-controller-manager.service", 10257
# Finished pods that are kept to be looked at; each costs every watcher of pods its memory. Upstream keeps 12500.
TERMINATED_PODS = 1000


@deploy("controller manager")
def controller_manager(cluster: Cluster, machine: Machine) -> None:
    if cluster.has_static_pods:
        pods(name="Running", pods=[pod(cluster, machine)], image=image_of(cluster))
        return
    service = unit(cluster, machine, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "controller_manager/kube-controller-manager.service",
        cluster=cluster,
        user=CONTROLLER_MANAGER_USER,
        programs=programs,
        flags=line(cluster),
    )
    return Service(
        UNIT,
        (File(f"/etc/systemd/system/{UNIT}", text, mode="600"),),
        wait=False,
        reads=published(cluster, machine),
        pod=NAME,
    )


def pod(cluster: Cluster, machine: Machine) -> StaticPod:
    return StaticPod(
        NAME,
        machine.name,
        CONTROLLER_MANAGER_USER,
        line(cluster),
        PORT,
        cpu="100m",
        reads=published(cluster, machine),
    )


def line(cluster: Cluster) -> tuple[str, ...]:
    """The command line of both."""
    return flags(
        "controller_manager/kube-controller-manager",
        cluster=cluster,
        pki=PKI,
        kubeconfig=path("controller-manager"),
        terminated_pods=TERMINATED_PODS,
    )


def published(cluster: Cluster, machine: Machine) -> tuple[File, ...]:
    """What it publishes in every namespace, and signs tokens with."""
    return reads(cluster, machine, f"{PKI}/ca.crt", f"{PKI}/sa.key")
