"""kube-controller-manager on a master; one of them leads.

Needs apiserver, kubeconfig. Leaves it running; it takes up its work when it is elected.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.cluster import CONTROLLER_MANAGER_USER, PKI
from roles.kubeconfig import path
from roles.operations import bundle, units
from roles.package import here
from roles.pki import reads
from roles.templates import flags, render
from roles.tree import File, Service

UNIT = "kube-controller-manager.service"
# Finished pods that are kept to be looked at; each costs every watcher of pods its memory. Upstream keeps 12500.
TERMINATED_PODS = 1000


@deploy("controller manager")
def controller_manager(cluster: Cluster, machine: Machine) -> None:
    service = unit(cluster, machine, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    kubeconfig = path("controller-manager")
    line = flags(
        "controller_manager/kube-controller-manager",
        cluster=cluster,
        pki=PKI,
        kubeconfig=kubeconfig,
        terminated_pods=TERMINATED_PODS,
    )
    text = render(
        "controller_manager/kube-controller-manager.service",
        cluster=cluster,
        user=CONTROLLER_MANAGER_USER,
        programs=programs,
        flags=line,
    )
    return Service(
        UNIT,
        (File(f"/etc/systemd/system/{UNIT}", text, mode="600"),),
        wait=False,
        # What it publishes in every namespace, and signs tokens with.
        reads=reads(cluster, machine, f"{PKI}/ca.crt", f"{PKI}/sa.key"),
    )
