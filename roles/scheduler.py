"""kube-scheduler on a master, as a unit or as a static pod; one of them leads.

Needs apiserver, kubeconfig. Leaves it running; it takes up its work when it is elected.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.cluster import PKI, SCHEDULER_USER
from roles.control_plane import image_of
from roles.kubeconfig import path
from roles.operations import bundle, units
from roles.package import here
from roles.static_pods import StaticPod, pods
from roles.templates import flags, render
from roles.tree import File, Service

NAME, UNIT, PORT = "kube-scheduler", "kube-scheduler.service", 10259
# One decision is a few vectors long: threads of numpy's linear algebra would only cost memory.
ENVIRONMENT = (("OPENBLAS_NUM_THREADS", "1"),)


@deploy("scheduler")
def scheduler(cluster: Cluster, machine: Machine) -> None:
    if cluster.has_static_pods:
        pods(name="Running", pods=[pod(machine)], image=image_of(cluster))
        return
    service = unit(cluster, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


def unit(cluster: Cluster, programs: str) -> Service:
    text = render(
        "scheduler/kube-scheduler.service",
        cluster=cluster,
        user=SCHEDULER_USER,
        programs=programs,
        flags=line(),
        environment=ENVIRONMENT,
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text, mode="600"),), wait=False, pod=NAME)


def pod(machine: Machine) -> StaticPod:
    return StaticPod(NAME, machine.name, SCHEDULER_USER, line(), PORT, cpu="100m", environment=ENVIRONMENT)


def line() -> tuple[str, ...]:
    """The command line of both."""
    return flags("scheduler/kube-scheduler", pki=PKI, kubeconfig=path("scheduler"))
