"""The pod network of this node: routes to the other nodes' pods, and the CNI configuration.

Needs package, kubeconfig, runtime (the CNI directory). Leaves the daemon running; the node becomes Ready through it.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Machine
from roles.kubeconfig import path
from roles.operations import bundle, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-pod-network.service"


@deploy("pod network")
def pod_network(machine: Machine) -> None:
    service = unit(machine, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


def unit(machine: Machine, programs: str) -> Service:
    # It looks nodes up, as kube-proxy does, and may do no more than that one.
    text = render(
        "pod_network/kybern-pod-network.service",
        machine=machine,
        programs=programs,
        kubeconfig=path("kube-proxy"),
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text),), wait=False)
