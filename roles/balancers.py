"""LoadBalancer services without a cloud: kybern-load-balancers on the masters, kybern-speaker on every node.

Needs apiserver, kubeconfig, firewall. Leaves, where the topology has ``load_balancer``, both daemons running and the
rights of their users in the API (docs/adr/0022). Where it has it no more, the daemons go, and with them all announcements.
"""

from pyinfra.api import deploy

from kybern.balancers import keys
from kybern.machinery import pools
from kybern.machines.topology import Cluster, Machine
from roles import api_objects
from roles.api_objects import Object, applied, apply
from roles.cluster import LOAD_BALANCERS_USER, SPEAKER_PORT, SPEAKER_USER
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-load-balancers.service"
SPEAKER = "kybern-speaker.service"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYSTEM = f"{RBAC}/namespaces/kube-system"
PLACES = {
    "clusterrole": f"{RBAC}/clusterroles/system:kybern-load-balancers",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-load-balancers",
    "role": f"{SYSTEM}/roles/system:kybern-load-balancers",
    "rolebinding": f"{SYSTEM}/rolebindings/system:kybern-load-balancers",
    "speakerrole": f"{RBAC}/clusterroles/system:kybern-speaker",
    "speakerrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-speaker",
    "speakerkey": f"{SYSTEM}/roles/system:kybern-speaker",
    "speakerkeybinding": f"{SYSTEM}/rolebindings/system:kybern-speaker",
}


@deploy("balancer rights")
def balancer_rights(cluster: Cluster) -> None:
    """What the API is to have."""
    wanted = objects()
    bundle(name="Files", files=[one.file for one in wanted])
    once(name="Rights", probe=applied(cluster, wanted), command=apply(cluster, wanted), _serial=True)


@deploy("load balancers")
def balancers(cluster: Cluster, machine: Machine) -> None:
    if cluster.load_balancer:
        services = wanted(cluster, machine, here().programs)
        bundle(name="Units", files=[file for service in services for file in service.files])
        units(name="Running", services=services)
    else:
        once(name="Switched off", probe=absent(), command=removal())


def wanted(cluster: Cluster, machine: Machine, programs: str) -> list[Service]:
    services = [speaker(machine, programs)] if machine.is_node else []
    return [*services, controller(cluster, programs)] if machine.is_master else services


def controller(cluster: Cluster, programs: str) -> Service:
    text = render(
        "balancers/kybern-load-balancers.service",
        cluster=cluster,
        programs=programs,
        user=LOAD_BALANCERS_USER,
        kubeconfig=path("load-balancers"),
        pools=pools.written(dict(cluster.load_balancer)),
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text),), wait=False)


def speaker(machine: Machine, programs: str) -> Service:
    text = render(
        "balancers/kybern-speaker.service",
        machine=machine,
        programs=programs,
        user=SPEAKER_USER,
        kubeconfig=path("speaker"),
        port=SPEAKER_PORT,
    )
    return Service(SPEAKER, (File(f"/etc/systemd/system/{SPEAKER}", text),), wait=False)


def _files() -> tuple[str, ...]:
    names = (f"/etc/systemd/system/{name}" for name in (UNIT, SPEAKER))
    return (*names, path("load-balancers"), path("speaker"))


def absent() -> str:
    return " && ".join(f"[ ! -e {one} ]" for one in _files())


def removal() -> str:
    stop = "; ".join(
        f"if [ -e /etc/systemd/system/{name} ]; then systemctl disable --now --quiet {name}; fi"
        for name in (UNIT, SPEAKER)
    )
    return f"{stop}; rm -f {' '.join(_files())} && systemctl daemon-reload"


def objects() -> tuple[Object, ...]:
    """In the order of writing."""
    return api_objects.objects("balancers", PLACES, {"key": keys.NAME})
