"""What nodes and pods use: kybern-metrics on the masters, and the group metrics.k8s.io that leads to it.

Needs apiserver, kubeconfig. Leaves the daemon running on every master, and in the API the rights of its user, a Service
without selector, whose EndpointSlice the daemons keep, and the APIService (docs/adr/0017).
"""

from base64 import b64encode

from pyinfra.api import deploy

from kybern.machines.certificates import CLUSTER_CA
from kybern.machines.topology import Cluster, Machine
from roles import api_objects
from roles.api_objects import Object, applied, apply
from roles.cluster import METRICS_PORT, METRICS_USER, PKI
from roles.kubeconfig import path
from roles.operations import bundle, once, units
from roles.package import here
from roles.pki import certificates
from roles.templates import render
from roles.tree import File, Service

UNIT = "kybern-metrics.service"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PLACES = {
    "clusterrole": f"{RBAC}/clusterroles/system:kybern-metrics",
    "clusterrolebinding": f"{RBAC}/clusterrolebindings/system:kybern-metrics",
    "reader": f"{RBAC}/clusterroles/system:aggregated-metrics-reader",
    "role": f"{RBAC}/namespaces/kube-system/roles/system:kybern-metrics",
    "rolebinding": f"{RBAC}/namespaces/kube-system/rolebindings/system:kybern-metrics",
    "service": "/api/v1/namespaces/kube-system/services/metrics-server",
    "apiservice": "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io",
}


@deploy("cluster metrics")
def cluster_metrics(cluster: Cluster, machine: Machine) -> None:
    service = unit(cluster, machine, here().programs)
    bundle(name="Unit", files=service.files)
    units(name="Running", services=[service])


@deploy("metrics service")
def metrics_service(cluster: Cluster, machine: Machine) -> None:
    """What the API is to have."""
    wanted = objects(cluster, certificates(cluster, machine).authorities[CLUSTER_CA])
    bundle(name="Files", files=[one.file for one in wanted])
    once(
        name="Service and rights",
        probe=applied(cluster, wanted),
        command=apply(cluster, wanted),
        _serial=True,
    )


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "cluster_metrics/kybern-metrics.service",
        cluster=cluster,
        machine=machine,
        user=METRICS_USER,
        programs=programs,
        kubeconfig=path("metrics"),
        pki=PKI,
        port=METRICS_PORT,
    )
    return Service(UNIT, (File(f"/etc/systemd/system/{UNIT}", text),), wait=False)


def objects(cluster: Cluster, authority: bytes) -> tuple[Object, ...]:
    """In the order of writing: rights before what needs them. ``authority`` is the cluster's, in PEM."""
    values = {
        "port": METRICS_PORT,
        "authority": b64encode(authority).decode(),
        "leases": [f"kybern-metrics-{master.name}" for master in cluster.masters],
    }
    return api_objects.objects("cluster_metrics", PLACES, values)
