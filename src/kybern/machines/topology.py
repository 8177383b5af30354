"""What a cluster is made of, as data: the frozen form of ``inventories/topology/*.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network

ETCD = "etcd"
CONTROL_PLANE = "control-plane"
WORKER = "worker"
IPV4, IPV6 = "IPv4", "IPv6"
type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network
PODS: Mapping[int, Network] = {4: IPv4Network("10.244.0.0/16"), 6: IPv6Network("fd00:244::/56")}
SERVICES: Mapping[int, Network] = {4: IPv4Network("10.96.0.0/16"), 6: IPv6Network("fd00:96::/112")}
CERTIFICATE_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Attached:
    """A network beside the first: a bridge of the machine's host, or a network of its libvirt's.

    ``kind`` of bridge, network; ``address`` with its prefix, None for an interface that has none.
    """

    kind: str
    name: str
    address: IPv4Interface | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. ``memory``, ``disk`` and ``disks`` in MiB; ``roles`` of etcd, control-plane, worker."""

    name: str
    address: Address
    roles: frozenset[str]
    memory: int = 1024
    cpus: int = 1
    disk: int = 10240
    # Of virtual machines alone: empty disks beside its own, what starts its kernel, and whether it starts with its host.
    disks: tuple[int, ...] = ()
    firmware: str = "bios"
    autostart: bool = False
    # Of machines that are installed over the network: their card's hardware address, which disk, and whether it may be
    # emptied for that.
    mac: str = ""
    install_on: str = ""
    wipe: bool = False
    # Its interfaces eth1 and so on.
    networks: tuple[Attached, ...] = ()
    # Of those of the cluster; empty: where it is, or where it fits best.
    hypervisor: str = ""

    @property
    def is_virtual_for_certain(self) -> bool:
        """Asks for what a container does not have."""
        return bool(self.disks) or self.firmware != "bios" or self.autostart

    @property
    def host(self) -> str:
        """The address as it stands before a port."""
        return host(self.address)

    @property
    def is_master(self) -> bool:
        return CONTROL_PLANE in self.roles

    @property
    def is_etcd(self) -> bool:
        return ETCD in self.roles

    @property
    def is_node(self) -> bool:
        """Runs a kubelet: masters do, too, with a taint when there are workers."""
        return CONTROL_PLANE in self.roles or WORKER in self.roles


@dataclass(frozen=True, slots=True)
class SecondFamily:
    """The networks of IPv6: of the machines beside IPv4, of pods and of services."""

    network: IPv6Network
    pods: IPv6Network
    services: IPv6Network


@dataclass(frozen=True, slots=True)
class Cloud:
    """libvirt, where the machines run: URIs by the hypervisors' names, which are the zones of nodes."""

    hypervisors: tuple[tuple[str, str], ...]
    region: str = ""


@dataclass(frozen=True, slots=True)
class CloudVolumes:
    """A pool of storage that hypervisors have, and URIs by which they can be changed, by the names of ``Cloud``."""

    pool: str
    hypervisors: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Netboot:
    """Who installs machines over the network. ``dhcp``: full, or proxy beside a DHCP server that is there already."""

    server: IPv4Address
    ssh_user: str = "root"
    dhcp: str = "full"
    # Arguments of the kernel, while it installs and afterwards.
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class Authorization:
    """An AuthorizationConfiguration, and kubeconfigs of its webhooks by name, which masters get; credentials are in them."""

    text: str
    kubeconfigs: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A topology. ``vip`` is the address in front of the masters; None with a single master, where its own serves.

    The family of ``network`` is that of all that is the machines' own; where it is IPv6, pods and services have that alone.
    """

    name: str
    network: Network
    gateway: Address
    vip: Address | None
    machines: tuple[Machine, ...]
    pod_cidr: Network = PODS[4]
    service_cidr: Network = SERVICES[4]
    cluster_domain: str = "cluster.local"
    api_port: int = 6443
    driver: str = "lxc"
    # Where virtual machines are made when it is not here: URIs of libvirt's by name, and what each of them has.
    hypervisors: tuple[tuple[str, str], ...] = ()
    bridge: str = ""
    pool: str = "default"
    proxy_mode: str = "iptables"
    storage: str = "local"
    network_policies: bool = True
    # Pools of addresses for services, by name, as text; none: nobody gives or announces any.
    load_balancer: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ingress: bool = False
    node_local_dns: bool = False
    # Whether pods may have certificates of authorities out of ClusterTrustBundles, which upstream has off by default.
    trust_bundles: bool = False
    # How secrets are encrypted in etcd: aesgcm, aescbc, secretbox, kms, or none.
    encryption: str = "aesgcm"
    # Where a key management service's plugin listens on each master, as unix://PATH. Empty: there is none.
    kms: str = ""
    # Of all certificates but the authorities' own, from the time that they are made.
    certificate_life: timedelta = CERTIFICATE_LIFE
    # Admission plugins of the API server beside those that are on everywhere.
    admission: tuple[str, ...] = ()
    # An AuthenticationConfiguration: issuers whose identity tokens API servers believe. Empty: there are none.
    authentication: str = ""
    # Who decides what is allowed. None: nodes by what they run, everybody else by RBAC.
    authorization: Authorization | None = None
    pod_network: str = "kybern"
    # Who makes the cgroups of pods: the kubelet and the runtime themselves, or systemd for them.
    cgroup_driver: str = "cgroupfs"
    # How API server, controller manager and scheduler run: as units (services), or as static pods (pods).
    control_plane: str = "services"
    ssh_user: str = "root"
    # How large etcd's file may become, in MiB; at that size it takes no more writes.
    etcd_quota: int = 2048
    ipv6: SecondFamily | None = None
    # Of pods and services, when it is not IPv4, and IPv6 behind it where there is one.
    families: tuple[str, ...] = ()
    cloud: Cloud | None = None
    cloud_volumes: CloudVolumes | None = None
    netboot: Netboot | None = None
    # The directory, on the operator's side, that everything is taken from; none: from where it is published.
    bundle: str = ""

    @property
    def ip_families(self) -> tuple[str, ...]:
        """Of pods and services: the first is that of what has one address only."""
        if self.has_no_ipv4:
            return (IPV6,)
        return self.families or ((IPV4, IPV6) if self.ipv6 else (IPV4,))

    @property
    def has_no_ipv4(self) -> bool:
        """Whether the machines have addresses of IPv6 alone, and with them all the cluster."""
        return self.network.version == 6

    @property
    def has_static_pods(self) -> bool:
        """Whether the control plane's daemons are pods of their machines' kubelets, and not units."""
        return self.control_plane == "pods"

    @property
    def pod_ranges(self) -> tuple[Network, ...]:
        """As daemons are told them, in the order of the families."""
        return self._ordered(self.pod_cidr, self.ipv6.pods if self.ipv6 else None)

    @property
    def service_ranges(self) -> tuple[Network, ...]:
        return self._ordered(self.service_cidr, self.ipv6.services if self.ipv6 else None)

    @property
    def dns_address(self) -> Address:
        """Where pods ask for names: the tenth address of the services' network, as kubeadm has it."""
        return self.service_ranges[0][10]

    def addresses(self, machine: Machine) -> tuple[Address, ...]:
        """A node's own, one of each family of the pods and in their order."""
        return self._ordered(machine.address, self.address6(machine) if self.ipv6 else None)

    def _ordered[T](self, first: T, second: T | None) -> tuple[T, ...]:
        """``first`` is of the family of the machines' network."""
        found = {IPV6: first} if self.has_no_ipv4 else {IPV4: first, IPV6: second}
        return tuple(one for family in self.ip_families if (one := found[family]) is not None)

    def address6(self, machine: Machine) -> IPv6Address:
        """Its second: ends as the machine's IPv4 address does, counted from its network's beginning."""
        if self.ipv6 is None:
            raise ValueError(f"cannot tell the IPv6 address of {machine.name}: the cluster has none")
        place = int(machine.address) - int(self.network.network_address)
        return self.ipv6.network[place]

    @property
    def masters(self) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if machine.is_master)

    @property
    def workers(self) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if WORKER in machine.roles)

    @property
    def members(self) -> tuple[Machine, ...]:
        """The etcd members."""
        return tuple(machine for machine in self.machines if machine.is_etcd)

    @property
    def api_address(self) -> Address:
        return self.vip or self.masters[0].address

    @property
    def api(self) -> str:
        """Where clients find the API: the address and the port."""
        return f"{host(self.api_address)}:{self.api_port}"


def host(address: Address) -> str:
    """An address as it stands before a port, and in a URL: in brackets when it is of IPv6."""
    return f"[{address}]" if address.version == 6 else str(address)
