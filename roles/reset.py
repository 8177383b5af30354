"""Take a cluster off its machines: daemons, containers, data, certificates, network. SSH and packages stay.

Leaves a machine that ``deploys/cluster.py`` treats as a new one. Only what Kybern has made goes: its units and
directories, its containers, kube-proxy's virtual servers, and the iptables chains, nftables tables, sets and links that
bear its or Kubernetes' names.

Safe to run again, also after it was interrupted. The operator's certificates stay. That the members of etcd have once
been healthy is forgotten only when every one of them is reset in the same run, since a part of them must not start a
cluster of its own.
"""

from collections.abc import Generator
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, deploy, operation

from kybern.machines.topology import Cluster, Machine
from roles.cluster import state
from roles.operations import once
from roles.release import TARGET
from roles.templates import render

# What starts containers or talks to the API is stopped first; then the containers go; then what they stood on.
ABOVE = (
    "kubelet.service",
    "kube-proxy.service",
    "kybern-pod-network.service",
    "kybern-policies.service",
    "kybern-dns.service",
    "kybern-node-dns.service",
    "kybern-node-dns-link.service",
    "kybern-metrics.service",
    "kybern-local-volumes.service",
    "kybern-cloud-volumes-node.service",
    "kybern-speaker.service",
    "kybern-ingress-haproxy.service",
    "kybern-ingress.service",
    "kybern-load-balancers.service",
    "kube-scheduler.service",
    "kube-controller-manager.service",
    "cloud-controller-manager.service",
    "kybern-libvirt.service",
    "kybern-cloud-volumes.service",
    "kybern-libvirt-volumes.service",
    "kube-apiserver.service",
    "keepalived.service",
    "haproxy.service",
)
BELOW = (
    "kybern-snapshot.timer",
    "kybern-snapshot.service",
    "containerd.service",
    "etcd.service",
    "kybern-ipv6.service",
    "kybern-firewall.service",
    "kybern-machine.service",
)
DIRECTORIES = (
    "/etc/kubernetes",
    "/etc/kybern",
    "/etc/cni/net.d",
    "/opt/kybern",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/lib/kybern",
    "/var/lib/kybern-ingress",
    "/var/log/containers",
    "/var/log/kubernetes",
    "/var/log/pods",
)
# These may be mounted, so they stay and are emptied.
EMPTIED = ("/var/lib/etcd", "/var/lib/containerd", "/var/lib/kybern-volumes")
FILES = ("/etc/sysctl.d/90-kybern.conf", "/etc/systemd/journald.conf.d/90-kybern.conf")
LINKS = ("cni0", "kybern-vxlan", "kybern-dns", "kube-ipvs0")
ROUTES = (75, 76)  # the protocol numbers of the pod network's routes
CHAINS = "KUBE|KYBERN|CNI"
# Tables of nftables: kube-proxy's, whichever mode it ran in last, those of the policies and of the pod network.
TABLES = (
    "ip kube-proxy",
    "ip6 kube-proxy",
    "inet kybern-policies",
    "bridge kybern-policies",
    "bridge kybern-pod-network",
)


@deploy("reset")
def reset(cluster: Cluster, machine: Machine) -> None:
    gone = " && ".join(
        f"[ ! -e {path} ]"
        for path in ("/etc/kybern", "/etc/kubernetes", "/opt/kybern", "/var/lib/etcd/member")
    )
    script = render(
        "reset/reset.sh",
        above=ABOVE,
        below=BELOW,
        directories=DIRECTORIES,
        emptied=EMPTIED,
        files=FILES,
        links=LINKS,
        chains=CHAINS,
        tables=TABLES,
        protocols=ROUTES,
        program=f"{TARGET}/current/bin/kube-proxy",
    )
    once(name="Everything of the cluster", probe=gone, command=script.decode())
    if machine == cluster.members[0]:
        forget(name="Its members forgotten", note=state(cluster) / "etcd-bootstrapped")


@operation()
def forget(note: Path) -> Generator[FunctionCommand]:
    everybody = set(host.inventory) == host.state.active_hosts
    if note.exists() and everybody:
        yield FunctionCommand(note.unlink, (), {})
