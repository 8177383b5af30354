"""Network policies in force on this node: kybern-policies, and what its user may see.

Needs package, kubeconfig, runtime (the bridge of the pods). Leaves the daemon running; or, where the topology says that
there shall be none, neither the daemon nor its rules (docs/adr/0019).
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

UNIT = "kybern-policies.service"
FILE = f"/etc/systemd/system/{UNIT}"
TABLE = "kybern-policies"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PLACES = {
    "clusterrole": f"{RBAC}/clusterroles/system:kybern-policies",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-policies",
}


@deploy("network policies")
def network_policies(cluster: Cluster, machine: Machine) -> None:
    if cluster.network_policies:
        service = unit(machine, here().programs)
        bundle(name="Unit", files=service.files)
        units(name="Running", services=[service])
    else:
        once(name="Switched off", probe=absent(), command=removal())


@deploy("policy rights")
def policy_rights(cluster: Cluster) -> None:
    """What the API is to have. Each master looks, one after the other: the first that answers writes it."""
    wanted = objects()
    bundle(name="Files", files=[one.file for one in wanted])
    once(name="Rights", probe=applied(cluster, wanted), command=apply(cluster, wanted), _serial=True)


def unit(machine: Machine, programs: str) -> Service:
    text = render(
        "network_policies/kybern-policies.service",
        machine=machine,
        programs=programs,
        kubeconfig=path("policies"),
    )
    return Service(UNIT, (File(FILE, text),), wait=False)


def absent() -> str:
    return f"[ ! -e {FILE} ] && [ ! -e {path('policies')} ] && ! nft list tables | grep -qw {TABLE}"


def removal() -> str:
    """The rules go after the daemon that would write them again."""
    tables = "; ".join(f"nft delete table {family} {TABLE} 2>/dev/null" for family in ("inet", "bridge"))
    return (
        f"if [ -e {FILE} ]; then systemctl disable --now --quiet {UNIT}; fi && rm -f {FILE} {path('policies')} "
        f"&& systemctl daemon-reload && {{ {tables}; true; }}"
    )


def objects() -> tuple[Object, ...]:
    """In the order of writing."""
    return api_objects.objects("network_policies", PLACES, {})
