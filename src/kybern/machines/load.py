"""Topologies: ``inventories/topology/*.yaml`` read strictly into a Cluster.

Everything that could not work is refused here, with file, line, value and remedy, before anything is touched. Lines come
from the YAML nodes, so the loader works on nodes and never on plain dictionaries.
"""

import re
from dataclasses import replace
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

from kybern.machines import netboot, shapes
from kybern.machines.admission import admission_plugins
from kybern.machines.authorization import authorization_of
from kybern.machines.clouds import check_cloud, check_cloud_volumes, cloud_of, cloud_volumes_of
from kybern.machines.encryption import KMS, NONE, PROVIDERS
from kybern.machines.errors import TopologyError
from kybern.machines.families import check_families, families_of
from kybern.machines.fields import Fields, Place, life, matching, one_of, size, yes_or_no
from kybern.machines.hypervisors import (
    bridge_of,
    check_hypervisors,
    hypervisors_of,
    named_hypervisor,
    pool_of,
)
from kybern.machines.key_service import check_kms, kms_of
from kybern.machines.networks import check_networks, networks_of
from kybern.machines.pools import balancer_pools, check_pools
from kybern.machines.topology import (
    CERTIFICATE_LIFE,
    CONTROL_PLANE,
    ETCD,
    PODS,
    SERVICES,
    WORKER,
    Address,
    Cluster,
    Machine,
    Network,
    SecondFamily,
)

ROLES = (ETCD, CONTROL_PLANE, WORKER)
DRIVERS = ("lxc", "qemu", "none")
PROXIES = ("iptables", "ipvs", "nftables")
POD_NETWORKS = ("kybern", "none")
STORAGE = ("local", "none")
CGROUP_DRIVERS = ("cgroupfs", "systemd")
CONTROL_PLANES = ("services", "pods")
ENCRYPTION = (*PROVIDERS, KMS, NONE)
NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


LIFE = 'a time such as "365d", "12h" or "3m", and at least "3m"'
LABEL = "a name of small letters, digits and dashes that begins with a letter, at most 32 long"
CIDR6 = 'a network such as "fd00:42::/64" (with no bits set behind the prefix)'
CIDR = 'a network such as "10.42.0.0/24" or "fd00:42::/64" (with no bits set behind the prefix)'
ADDRESS = "an address"


def load(path: Path) -> Cluster:
    """The cluster that a topology file describes."""
    try:
        node: Any = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise TopologyError(f"{path}: there is no such topology file") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TopologyError(f"{path}:{line}: not YAML: {error.problem}") from error
    if node is None:
        raise TopologyError(f"{path}:1: the file is empty; see inventories/topology/lab.yaml")
    return _Reader(path, node).cluster()


class _Reader:
    """One reading of one file."""

    KEYS = (
        "cluster",
        "network",
        "gateway",
        "vip",
        "pods",
        "services",
        "domain",
        "api_port",
        "proxy",
        "storage",
        "network_policies",
        "load_balancer",
        "ingress",
        "node_local_dns",
        "trust_bundles",
        "encryption",
        "kms",
        "certificate_life",
        "admission",
        "pod_network",
        "cgroup_driver",
        "control_plane",
        "authentication",
        "authorization",
        "etcd_quota",
        "driver",
        "ssh_user",
        "bundle",
        "hypervisors",
        "bridge",
        "pool",
    )
    MACHINE = ("name", "address", "roles", "networks", "hypervisor", *shapes.KEYS, *netboot.KEYS)

    def __init__(self, path: Path, node: yaml.Node) -> None:
        self._path = path
        known = (*self.KEYS, "machines", "defaults", "families", "ipv6", "cloud", "cloud_volumes", "netboot")
        self._top = Fields(path, node, "the topology", known)
        self._places: dict[str, Place] = {}

    def _beside(self, name: str) -> str:
        """The text of a file whose path is relative to the topology's. Raises ValueError."""
        try:
            return (self._path.parent / name).read_text()
        except (OSError, UnicodeDecodeError) as problem:
            raise ValueError(name) from problem

    def cluster(self) -> Cluster:
        top = self._top
        cidr = top.required("network").parse(ip_network, CIDR)
        if cidr.prefixlen > cidr.max_prefixlen - 2:
            raise top.required("network").at.error(
                f"{cidr} has no room for machines; use a prefix of /{cidr.max_prefixlen - 2} or shorter"
            )
        gateway = top.parse("gateway", ip_address, ADDRESS, cidr[1])
        if gateway not in cidr:
            raise top.required("gateway").at.error(f"gateway {gateway} is outside the network {cidr}")
        made = Cluster(
            name=top.required("cluster").parse(matching(NAME), LABEL),
            network=cidr,
            gateway=gateway,
            vip=top.parse("vip", ip_address, ADDRESS, None),
            machines=self._machines(cidr, gateway),
            pod_cidr=top.parse("pods", ip_network, CIDR, PODS[cidr.version]),
            service_cidr=top.parse("services", ip_network, CIDR, SERVICES[cidr.version]),
            cluster_domain=top.parse("domain", matching(DOMAIN), "a DNS domain", "cluster.local"),
            api_port=top.parse("api_port", _port, "a port from 1 to 65535", 6443),
            proxy_mode=top.parse("proxy", one_of(*PROXIES), "one of " + ", ".join(PROXIES), "iptables"),
            storage=top.parse("storage", one_of(*STORAGE), "one of " + ", ".join(STORAGE), "local"),
            network_policies=top.parse("network_policies", yes_or_no, "true or false", True),
            load_balancer=balancer_pools(top),
            ingress=top.parse("ingress", yes_or_no, "true or false", False),
            node_local_dns=top.parse("node_local_dns", yes_or_no, "true or false", False),
            trust_bundles=top.parse("trust_bundles", yes_or_no, "true or false", False),
            encryption=top.parse(
                "encryption", one_of(*ENCRYPTION), "one of " + ", ".join(ENCRYPTION), "aesgcm"
            ),
            kms=kms_of(top),
            certificate_life=top.parse("certificate_life", life, LIFE, CERTIFICATE_LIFE),
            admission=admission_plugins(top),
            authentication=top.parse("authentication", self._beside, "a file that can be read", ""),
            authorization=authorization_of(top),
            pod_network=top.parse(
                "pod_network", one_of(*POD_NETWORKS), "one of " + ", ".join(POD_NETWORKS), "kybern"
            ),
            cgroup_driver=top.parse(
                "cgroup_driver", one_of(*CGROUP_DRIVERS), "one of " + ", ".join(CGROUP_DRIVERS), "cgroupfs"
            ),
            control_plane=top.parse(
                "control_plane",
                one_of(*CONTROL_PLANES),
                "one of " + ", ".join(CONTROL_PLANES),
                "services",
            ),
            driver=self._driver(),
            ssh_user=top.parse("ssh_user", matching(NAME), "a user's name", "root"),
            etcd_quota=top.parse("etcd_quota", size, shapes.MIB, 2048),
            bundle=top.parse("bundle", str, "a directory", ""),
            ipv6=self._second_family(cidr),
            families=families_of(top, cidr),
            cloud=cloud_of(top),
            cloud_volumes=cloud_volumes_of(top),
            netboot=netboot.netboot_of(top),
            hypervisors=hypervisors_of(top),
            bridge=bridge_of(top),
            pool=pool_of(top),
        )
        self._check_family(made)
        self._check_overlaps(made)
        self._check_members(made)
        self._check_vip(made)
        check_kms(made, self._at("encryption"))
        check_families(made, self._at("families"))
        check_pools(made, self._at("load_balancer"))
        check_cloud(made, self._at("cloud"))
        check_cloud_volumes(made, self._at("cloud_volumes"))
        netboot.check_netboot(made, self._at("netboot" if self._top.node("netboot") else "machines"))
        check_hypervisors(made, self._at("hypervisors"), self._places)
        check_networks(made, self._places)
        return made

    def _second_family(self, machines: Network) -> SecondFamily | None:
        node = self._top.node("ipv6")
        if node is None:
            return None
        fields = Fields(self._path, node, "ipv6", ("network", "pods", "services"))
        if machines.version == 6:
            raise fields.at.error(
                f'"ipv6" stands beside IPv4, and the machines\' network {machines} is of IPv6 itself: leave it out'
            )
        found = {
            key: fields.required(key).parse(IPv6Network, CIDR6) for key in ("network", "pods", "services")
        }
        for key, longest, why in (
            (
                "network",
                128 - (32 - machines.prefixlen),
                "has no place for each address of the machines' network",
            ),
            ("pods", 63, "has no room for a /64 for each node"),
            ("services", 120, "has no room for services"),
        ):
            if found[key].prefixlen > longest:
                raise fields.required(key).at.error(f"{key} {found[key]} {why}; use /{longest} or shorter")
        if found["services"].prefixlen < 108:
            raise fields.required("services").at.error(
                f"services {found['services']} is larger than an API server takes; use /108 or longer"
            )
        self._check_apart(fields, found)
        return SecondFamily(**found)

    def _check_apart(self, fields: Fields, found: dict[str, IPv6Network]) -> None:
        for first, second in (("network", "pods"), ("network", "services"), ("pods", "services")):
            if found[first].overlaps(found[second]):
                raise fields.required(second).at.error(
                    f"{second} {found[second]} overlaps {first} {found[first]}; choose ranges that do not overlap"
                )

    def _at(self, key: str) -> Place:
        node = self._top.node(key)
        return self._top.at if node is None else Place(self._path, node.start_mark.line + 1)

    def _machines(self, cidr: Network, gateway: Address) -> tuple[Machine, ...]:
        defaults = self._defaults()
        names: dict[str, int] = {}
        addresses: dict[Address, int] = {gateway: self._at("gateway").line}
        machines = []
        for node in self._top.items("machines"):
            fields = Fields(self._path, node, "a machine", self.MACHINE)
            machine = self._machine(fields, defaults)
            name, address = fields.required("name"), fields.required("address")
            if machine.name in names:
                raise name.at.error(
                    f'duplicate name "{machine.name}", first on line {names[machine.name]}; rename one'
                )
            if machine.address not in cidr:
                raise address.at.error(f"address {machine.address} is outside the network {cidr}")
            if machine.address in (cidr.network_address, cidr.broadcast_address):
                raise address.at.error(
                    f"address {machine.address} is no machine's in {cidr}; take one between"
                )
            if machine.address == gateway:
                raise address.at.error(f"address {machine.address} is the gateway's; take another")
            if machine.address in addresses:
                first = addresses[machine.address]
                raise address.at.error(
                    f"duplicate address {machine.address}, first on line {first}; change one"
                )
            names[machine.name], addresses[machine.address] = name.at.line, address.at.line
            self._places[machine.name] = name.at
            machines.append(machine)
        return tuple(machines)

    def _defaults(self) -> Machine:
        node = self._top.node("defaults")
        blank = Machine("", ip_address(0), frozenset())
        if node is None:
            return blank
        return shapes.shaped(self._path, Fields(self._path, node, "defaults", shapes.KEYS), blank)

    def _machine(self, fields: Fields, defaults: Machine) -> Machine:
        made = replace(
            shapes.shaped(self._path, fields, defaults),
            name=fields.required("name").parse(matching(NAME), LABEL),
            address=fields.required("address").parse(ip_address, ADDRESS),
            roles=self._roles(fields),
            networks=networks_of(self._path, fields),
            hypervisor=named_hypervisor(fields),
        )
        shapes.check_kind(fields.required("name").at, made, self._driver())
        return netboot.booted(fields, made)

    def _driver(self) -> str:
        return self._top.parse("driver", one_of(*DRIVERS), "one of " + ", ".join(DRIVERS), "lxc")

    def _roles(self, fields: Fields) -> frozenset[str]:
        roles: list[str] = []
        for node in fields.items("roles"):
            place = Place(self._path, node.start_mark.line + 1)
            if node.value not in ROLES:
                raise place.error(f'unknown role "{node.value}"; a machine may have {", ".join(ROLES)}')
            if node.value in roles:
                raise place.error(f'duplicate role "{node.value}"; remove one of the two')
            roles.append(node.value)
        return frozenset(roles)

    def _check_family(self, cluster: Cluster) -> None:
        """Where machines have IPv6 alone, pods and services do; else those of IPv6 are written in "ipv6"."""
        family = cluster.network.version
        for name, cidr in (("pods", cluster.pod_cidr), ("services", cluster.service_cidr)):
            if cidr.version != family:
                raise self._at(name).error(
                    f"{name} {cidr} are of IPv{cidr.version}, and the machines' network {cluster.network} is not; "
                    f"take a network of IPv{family}" + (', or add "ipv6"' if family == 4 else "")
                )
        if cluster.has_no_ipv4:
            self._check_sizes(cluster)

    def _check_sizes(self, cluster: Cluster) -> None:
        """As of a second family, which a machine's pods and services have instead."""
        if cluster.pod_cidr.prefixlen > 63:
            raise self._at("pods").error(
                f"pods {cluster.pod_cidr} has no room for a /64 for each node; use /63 or shorter"
            )
        if not 108 <= cluster.service_cidr.prefixlen <= 120:
            raise self._at("services").error(
                f"services {cluster.service_cidr} are more than an API server takes, or too few; use /108 to /120"
            )

    def _check_overlaps(self, cluster: Cluster) -> None:
        ranges = [
            ("network", cluster.network),
            ("pods", cluster.pod_cidr),
            ("services", cluster.service_cidr),
        ]
        for index, (name, cidr) in enumerate(ranges):
            for other, against in ranges[:index]:
                if cidr.version == against.version and cidr.overlaps(against):
                    place = self._at(name) if self._top.node(name) is not None else self._at(other)
                    raise place.error(
                        f"{name} {cidr} overlaps {other} {against}; choose ranges that do not overlap"
                    )

    def _check_members(self, cluster: Cluster) -> None:
        place = self._at("machines")
        for role, count in ((CONTROL_PLANE, len(cluster.masters)), (ETCD, len(cluster.members))):
            if not count:
                raise place.error(f'no machine has the role "{role}"; at least one must')
        if len(cluster.members) % 2 == 0:
            count = len(cluster.members)
            raise place.error(
                f"{count} etcd members bear no more failures than {count - 1}, and fail more often; "
                f"give the role etcd to an odd number of machines"
            )

    def _check_vip(self, cluster: Cluster) -> None:
        place = self._at("vip") if cluster.vip else self._top.at
        if cluster.vip is None:
            if len(cluster.masters) > 1:
                raise place.error(
                    f'{len(cluster.masters)} masters need a "vip", an address in front of them; add it'
                )
            return
        if cluster.vip not in cluster.network:
            raise place.error(
                f"VIP {cluster.vip} is outside the network {cluster.network}; choose one inside"
            )
        if cluster.vip in (
            cluster.network.network_address,
            cluster.network.broadcast_address,
            cluster.gateway,
        ):
            raise place.error(
                f"VIP {cluster.vip} is the network's own or the gateway's address; choose another"
            )
        for machine in cluster.machines:
            if cluster.vip == machine.address:
                raise place.error(
                    f"VIP {cluster.vip} is the address of {machine.name}; choose one that is free"
                )


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError(text)
    return number
