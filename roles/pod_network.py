"""The pod network of this node: routes to the other nodes' pods, and the CNI configuration.

Needs package, kubeconfig, runtime (the CNI directory). Leaves the daemon running; the node becomes Ready through it. Where
the topology says ``pod_network: none``, neither the daemon nor what it wrote: another one brings its own configuration into
/etc/cni/net.d, and its own routes.
"""

from pyinfra.api import deploy

from kybern.machines.topology import Cluster, Machine
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.reset import ROUTES
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-pod-network.service"
FILE = f"/etc/systemd/system/{UNIT}"
CONFLIST = "/etc/cni/net.d/10-kybern.conflist"
TABLE = "bridge kybern-pod-network"


@deploy("pod network")
def pod_network(cluster: Cluster, machine: Machine) -> None:
    if cluster.pod_network == "kybern":
        service = unit(cluster, machine, here().programs)
        bundle(name="Unit", files=service.files)
        units(name="Running", services=[service])
    else:
        once(name="Switched off", probe=absent(), command=removal())


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    # It looks nodes up, as kube-proxy does, and may do no more than that one.
    text = render(
        "pod_network/kybern-pod-network.service",
        cluster=cluster,
        machine=machine,
        programs=programs,
        kubeconfig=path("kube-proxy"),
    )
    return Service(UNIT, (File(FILE, text),), wait=False)


def absent() -> str:
    return f"[ ! -e {FILE} ] && [ ! -e {CONFLIST} ]"


def removal() -> str:
    """The bridge stays: pods that run hang on it until they are made anew."""
    routes = "; ".join(
        f"ip {family}route flush proto {protocol}" for protocol in ROUTES for family in ("", "-6 ")
    )
    return (
        f"if [ -e {FILE} ]; then systemctl disable --now --quiet {UNIT}; fi && rm -rf {FILE} {FILE}.d {CONFLIST} "
        f"&& systemctl daemon-reload && {{ {routes}; ip link delete kybern-vxlan; "
        f"nft delete table {TABLE}; true; }} 2>/dev/null"
    )
