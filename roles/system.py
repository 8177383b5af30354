"""The ground that all other roles stand on: packages, users, kernel settings, names, journal limits.

Needs Debian 13 or Ubuntu 24.04. Leaves the users of the daemons, forwarding, the machines' names in /etc/hosts.

Kernel modules and settings are one unit, which runs at boot and again when they differ: modules first, since some
settings appear with them. A module that the kernel does not have is no error; neither is a setting of it. A container
shares settings outside of net/ with its host, which are then the host's business.
"""

from pyinfra import host
from pyinfra.api import deploy

from kybern.machines.packages import has_ingress, wanted_packages
from kybern.machines.topology import Cluster, Machine
from kybern.proxy.config import IPTABLES, IPVS
from kybern.proxy.ipvs.servers import SCHEDULERS
from roles.bundled import repository
from roles.cluster import (
    APISERVER_USER,
    CLOUD_USER,
    CLOUD_VOLUMES_USER,
    CONTROLLER_MANAGER_USER,
    DNS_USER,
    ETCD_USER,
    INGRESS_USER,
    LOAD_BALANCERS_USER,
    METRICS_USER,
    SCHEDULER_USER,
    SPEAKER_USER,
)
from roles.operations import accounts, bundle, packages, units
from roles.templates import render
from roles.tree import Directory, File, Service

MODULES = (
    "overlay",
    "br_netfilter",
    "nf_conntrack",
    "ip_tables",
    "iptable_nat",
    "iptable_filter",
    "nf_tables",
    "vxlan",
    "dummy",
    "ifb",
)
# Where kube-proxy uses them. The daemon itself may not load any.
VIRTUAL_SERVERS = ("ip_vs", *(f"ip_vs_{name}" for name in SCHEDULERS), "ip_set", "xt_set", "dummy")
# What the daemons rely on, everywhere; and what a machine with a kernel of its own is given beside it.
NETWORK = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.forwarding": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
KERNEL = {
    "fs.inotify.max_user_instances": "1024",
    "fs.inotify.max_user_watches": "524288",
    "kernel.panic": "10",
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
}
# What kube-proxy would set itself (upstream's defaults), had it the right to.
CONNECTIONS = {
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": "3600",
    "net.netfilter.nf_conntrack_tcp_timeout_established": "86400",
}
LOCALHOST = {"net.ipv4.conf.all.route_localnet": "1"}
FLOWS = {
    "net.ipv4.vs.conntrack": "1",
    "net.ipv4.vs.expire_nodest_conn": "1",
    "net.ipv4.vs.expire_quiescent_template": "1",
}
SETTINGS = "/etc/sysctl.d/90-kybern.conf"
OWN_SETTINGS = "/etc/kybern/sysctl.conf"
MACHINE = "kybern-machine.service"
# Units of ours that run a package's program: a newer one reaches them by a restart.
FROM_PACKAGES = {
    "containerd": ("containerd.service",),
    "etcd-server": ("etcd.service",),
    "haproxy": ("haproxy.service", "kybern-ingress-haproxy.service"),
    "keepalived": ("keepalived.service",),
}


@deploy("system")
def system(cluster: Cluster, machine: Machine) -> None:
    ground, journal = kernel(cluster, machine), limits()
    newest = host.data.get("packages") == "latest"
    offered = repository(cluster)
    if offered is not None:
        bundle(name="Package index", files=offered.index)
    packages(
        name="Packages",
        names=wanted_packages(cluster, machine),
        newest=newest,
        units=FROM_PACKAGES,
        repository=offered,
    )
    if users := wanted_users(cluster, machine):
        accounts(name="Users", users=users)
    bundle(
        name="Names and settings",
        files=[
            Directory("/etc/kybern"),
            Directory("/var/lib/kybern"),
            File("/etc/hosts", render("system/hosts", cluster=cluster)),
            *ground.files,
            *journal.files,
        ],
    )
    units(name="Applied", services=[ground, journal])


def wanted_users(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    masters = (APISERVER_USER, CONTROLLER_MANAGER_USER, SCHEDULER_USER, DNS_USER, METRICS_USER)
    own = (DNS_USER,) if machine.is_node and cluster.node_local_dns else ()
    users = masters if machine.is_master else own
    if cluster.load_balancer:
        users = (*users, *((LOAD_BALANCERS_USER,) if machine.is_master else ()), SPEAKER_USER)
    if machine.is_master and cluster.cloud:
        users = (*users, CLOUD_USER)
    if machine.is_master and cluster.cloud_volumes:
        users = (*users, CLOUD_VOLUMES_USER)
    if has_ingress(cluster, machine):
        users = (*users, INGRESS_USER)
    return (*users, ETCD_USER) if machine.is_etcd else users


def kernel(cluster: Cluster, machine: Machine) -> Service:
    has_servers = machine.is_node and cluster.proxy_mode == IPVS
    modules, network = MODULES + VIRTUAL_SERVERS * has_servers, settings(cluster, machine)
    unit = render(
        "system/kybern-machine.service", modules=modules, settings=SETTINGS, own_settings=OWN_SETTINGS
    )
    # A setting that this kernel does not have is as good as set.
    is_set = " && ".join(
        f"v=$(sysctl -n {key} 2>/dev/null || echo {value}) && [ $v = {value} ]"
        for key, value in network.items()
    )
    return Service(
        MACHINE,
        (
            File(SETTINGS, render("system/sysctl.conf", settings=network)),
            File(OWN_SETTINGS, render("system/sysctl.conf", settings=KERNEL)),
            File("/etc/hostname", f"{machine.name}\n".encode()),
            File(f"/etc/systemd/system/{MACHINE}", unit),
        ),
        alive=f"[ $(uname -n) = {machine.name} ] && {is_set}",
    )


def settings(cluster: Cluster, machine: Machine) -> dict[str, str]:
    """Of the kernel, that the daemons of this machine rely on."""
    of_mode = {IPVS: FLOWS, IPTABLES: LOCALHOST}
    of_node = CONNECTIONS | of_mode.get(cluster.proxy_mode, {}) if machine.is_node else {}
    return NETWORK | of_node


def limits() -> Service:
    conf = File("/etc/systemd/journald.conf.d/90-kybern.conf", render("system/journald.conf"))
    return Service("systemd-journald.service", (conf,))
