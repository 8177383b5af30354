"""kube-proxy: services on this node.

Needs package, kubeconfig. Leaves it running. Its rules stay when it stops.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.kubeconfig import path
from roles.operations import bundle, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kube-proxy.service"


@deploy("kube-proxy")
def kube_proxy(cluster: Cluster, machine: Machine) -> None:
    service = unit(cluster, machine, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "kube_proxy/kube-proxy.service",
        cluster=cluster,
        machine=machine,
        programs=programs,
        kubeconfig=path("kube-proxy"),
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text),), wait=False)
