"""kube-scheduler on a master; one of them leads.

Needs apiserver, kubeconfig. Leaves it running; it takes up its work when it is elected.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster
from roles.cluster import PKI, SCHEDULER_USER
from roles.kubeconfig import path
from roles.operations import bundle, units
from roles.package import here
from roles.templates import flags, render
from roles.tree import File, Service

UNIT = "kube-scheduler.service"


@deploy("scheduler")
def scheduler(cluster: Cluster) -> None:
    service = unit(cluster, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


def unit(cluster: Cluster, programs: str) -> Service:
    text = render(
        "scheduler/kube-scheduler.service",
        cluster=cluster,
        user=SCHEDULER_USER,
        programs=programs,
        flags=flags("scheduler/kube-scheduler", pki=PKI, kubeconfig=path("scheduler")),
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text, mode="600"),), wait=False)
