"""What every role knows beside the topology: users, ports and places, each named once.

``here`` is the first line of a deploy: the cluster and the machine that pyinfra's current host stands for. A host's own
name ("@machine/master-1") is the connector's business and appears in no role.
"""

from pathlib import Path

from pyinfra import host

from kybern.machines import node_names
from kybern.machines.packages import has_balancer
from kybern.machines.state import State
from kybern.machines.topology import Address, Cluster, Machine
from roles.record import attach

KUBERNETES = "/etc/kubernetes"
PKI = f"{KUBERNETES}/pki"
ENCRYPTION = f"{PKI}/encryption.yaml"
KUBELET_PKI = "/var/lib/kubelet/pki"

APISERVER_USER = "kube-apiserver"
CONTROLLER_MANAGER_USER = "kube-controller-manager"
SCHEDULER_USER = "kube-scheduler"
DNS_USER = "kybern-dns"
METRICS_USER = "kybern-metrics"
LOAD_BALANCERS_USER = "kybern-load-balancers"
SPEAKER_USER = "kybern-speaker"
INGRESS_USER = "kybern-ingress"
CLOUD_USER = "cloud-controller-manager"
CLOUD_VOLUMES_USER = "kybern-cloud-volumes"
NETBOOT_USER = "kybern-netboot"
ETCD_USER = "etcd"

ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
ETCD_METRICS_PORT = 2381
KUBELET_PORT = 10250
BALANCER_PORT = 8443  # haproxy on the masters: any master's API server, by its readiness
BALANCER_HEALTH_PORT = 8404
DNS_HEALTH_PORT = 9153
NODE_DNS_HEALTH_PORT = 9253
METRICS_PORT = 10251
SPEAKER_PORT = 10261  # UDP, from machine to machine
INGRESS_PORTS = (80, 443)
NETBOOT_PORT = 8069
NODE_PORTS = (30000, 32767)

# Of TLS 1.2; all of 1.3 are on. Those that the CIS benchmark calls strong (1.2.29, 4.2.12).
CIPHERS = tuple(
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    for key in ("ECDSA", "RSA")
)


def here() -> tuple[Cluster, Machine]:
    cluster, machine = host.data.get("cluster"), host.data.get("machine")
    if not isinstance(cluster, Cluster) or not isinstance(machine, Machine):
        raise TypeError(
            f"{host.name} has no cluster and machine in its data: use an inventory of inventories/"
        )
    attach(host.state)
    return cluster, machine


def state(cluster: Cluster) -> Path:
    """The operator's own directory for this cluster."""
    return State.of(cluster.name).directory


def node_address(cluster: Cluster, machine: Machine) -> str:
    """Where pods and Services find the daemons of this machine: of the family that comes first."""
    return str(cluster.addresses(machine)[0])


def name_servers(cluster: Cluster) -> tuple[Address, ...]:
    """Whom pods ask, in their order. Behind the node's own cache stands the Service, for when the cache is down."""
    return (
        (node_names.address_of(cluster), cluster.dns_address)
        if cluster.node_local_dns
        else (cluster.dns_address,)
    )


def api_endpoint(cluster: Cluster, machine: Machine) -> str:
    """Where the daemons of this machine find the API: close by, and still there when a master is not."""
    if not machine.is_master:
        return f"https://127.0.0.1:{cluster.api_port}"
    port = BALANCER_PORT if has_balancer(cluster, machine) else cluster.api_port
    return f"https://127.0.0.1:{port}"


def etcd_endpoints(cluster: Cluster, machine: Machine) -> str:
    """The member of this machine first, which spares a way over the network; the others are for when it is down."""
    members = sorted(cluster.members, key=lambda member: member != machine)
    return ",".join(f"https://{member.host}:{ETCD_CLIENT_PORT}" for member in members)
