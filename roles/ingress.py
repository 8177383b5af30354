"""Ingress on the workers: kybern-ingress, the haproxy that it keeps, and the class "kybern".

Needs apiserver, kubeconfig, firewall (which opens 80 and 443). Leaves, where the topology says ``ingress: true``, both
units running on every worker and in the API the class and the rights (docs/adr/0023). Where it does not, the units go, and
what they served.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster
from roles import api_objects
from roles.api_objects import Object, applied, apply
from roles.cluster import INGRESS_USER
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-ingress.service"
HAPROXY = "kybern-ingress-haproxy.service"
FOLDER = "/var/lib/kybern-ingress"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PLACES = {
    "clusterrole": f"{RBAC}/clusterroles/system:kybern-ingress",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-ingress",
    "role": f"{RBAC}/namespaces/kube-system/roles/system:kybern-ingress",
    "rolebinding": f"{RBAC}/namespaces/kube-system/rolebindings/system:kybern-ingress",
    "ingressclass": "/apis/networking.k8s.io/v1/ingressclasses/kybern",
}


@deploy("ingress class")
def ingress_class(cluster: Cluster) -> None:
    """What the API is to have."""
    wanted = objects()
    bundle(name="Files", files=[one.file for one in wanted])
    once(
        name="Class and rights", probe=applied(cluster, wanted), command=apply(cluster, wanted), _serial=True
    )


@deploy("ingress")
def ingress(cluster: Cluster) -> None:
    if cluster.ingress:
        services = [controller(cluster, here().programs), haproxy()]
        bundle(name="Units", files=[file for service in services for file in service.files])
        units(name="Running", services=services)
    else:
        once(name="Switched off", probe=absent(), command=removal())


def controller(cluster: Cluster, programs: str) -> Service:
    text = render(
        "ingress/kybern-ingress.service",
        cluster=cluster,
        programs=programs,
        user=INGRESS_USER,
        kubeconfig=path("ingress"),
        addresses=tuple(str(machine.address) for machine in cluster.workers),
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text),), wait=False)


def haproxy() -> Service:
    text = render("ingress/kybern-ingress-haproxy.service", user=INGRESS_USER)
    return Service(HAPROXY, (File(f"/etc/systemd/system/{HAPROXY}", text),), wait=False)


def absent() -> str:
    return " && ".join(f"[ ! -e {one} ]" for one in (*_files(), FOLDER))


def removal() -> str:
    stop = "; ".join(
        f"if [ -e /etc/systemd/system/{name} ]; then systemctl disable --now --quiet {name}; fi"
        for name in (HAPROXY, UNIT)
    )
    return f"{stop}; rm -rf {' '.join(_files())} {FOLDER} && systemctl daemon-reload"


def _files() -> tuple[str, ...]:
    return (*(f"/etc/systemd/system/{name}" for name in (UNIT, HAPROXY)), path("ingress"))


def objects() -> tuple[Object, ...]:
    """In the order of writing."""
    return api_objects.objects("ingress", PLACES, {})
