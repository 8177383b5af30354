"""The ports of a service as iptables chains. Pure: the same ports always give the same chains, byte for byte.

Chains bear upstream's names (pkg/proxy/iptables/proxier.go), so that what an operator knows of kube-proxy holds here, and
so that one proxy can take over from the other. A packet goes KUBE-SERVICES, then KUBE-SERVICES-* by the last bits of its
destination, then for its port KUBE-SVC-* (any endpoint), KUBE-SVL-* (only endpoints of this node) or KUBE-EXT-* (came from
outside). There it gets the address of an endpoint, by way of KUBE-SEP-* (one endpoint) only where more is to be done for
that one: with each change the kernel goes through all rules that packets can reach, so there are no more of them, nor of
comments in them, than are needed (ADR 0029).
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from itertools import islice

from kybern.proxy.families import IPV4, IPV6, family_of, version_of
from kybern.proxy.model import Endpoint, ServicePort, preferred, usable

MASQUERADE_BIT = 14
MARK = f"{1 << MASQUERADE_BIT:#x}"
MASQUERADE = f"{MARK}/{MARK}"
# Counters of the kernel, under upstream's names.
INVALID_DROPPED = "ct_state_invalid_dropped_pkts"
LOCALHOST_ACCEPTED = "localhost_nps_accepted_pkts"
PRIMARY = "primary"  # of the networks of node ports: the node's first address

# Services' addresses are looked for in one of these, by the last four bits: one list of all would be long for packets, and
# the program reads all of a list to take a rule out of it.
PORTALS = tuple(f"KUBE-SERVICES-{bits:X}" for bits in range(16))
# Chains that exist whatever the services are, by table.
FIXED = {
    "filter": (
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-FIREWALL",
        "KUBE-FORWARD",
        "KUBE-NODEPORTS",
        "KUBE-PROXY-FIREWALL",
        "KUBE-SERVICES",
    ),
    "nat": ("KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SERVICES", *PORTALS),
}
# Our rules in chains that are not ours: (table, chain, rule). Put at the chain's head when they are missing.
_NEW = "-m conntrack --ctstate NEW -m comment --comment"
JUMPS = (
    ("filter", "INPUT", '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS'),
    ("filter", "INPUT", f'{_NEW} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'),
    ("filter", "INPUT", f'{_NEW} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'),
    ("filter", "INPUT", "-j KUBE-FIREWALL"),
    ("filter", "FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
    ("filter", "FORWARD", f'{_NEW} "kubernetes service portals" -j KUBE-SERVICES'),
    (
        "filter",
        "FORWARD",
        f'{_NEW} "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
    ),
    ("filter", "FORWARD", f'{_NEW} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'),
    ("filter", "OUTPUT", f'{_NEW} "kubernetes service portals" -j KUBE-SERVICES'),
    ("filter", "OUTPUT", f'{_NEW} "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'),
    ("filter", "OUTPUT", "-j KUBE-FIREWALL"),
    ("nat", "PREROUTING", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    ("nat", "OUTPUT", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    ("nat", "POSTROUTING", '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'),
)

_LOCALHOST = IPv4Network(IPV4.loopback)
_FOLLOWING = '-m comment --comment "kubernetes forwarding conntrack rule"'

type Chains = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the rules depend on beside services. An empty pod network: nothing of that version of IP is served.

    ``node_port_networks`` limits where node ports answer, () for all; "primary" in it stands for the first of
    ``node_addresses`` of each family. ``localhost_node_ports`` are served at 127.0.0.1, too. ``counters`` are those of the
    kernel that rules may count into.
    """

    pod_cidr: str
    node_port_networks: tuple[str, ...] = ()
    masquerade_all: bool = False
    drop_invalid: bool = True
    pod_cidr6: str = ""
    node_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = False
    counters: frozenset[str] = frozenset()

    def pod_network(self, version: int) -> str:
        return self.pod_cidr if version == 4 else self.pod_cidr6

    def is_here_within(self, networks: Iterable[str]) -> bool:
        """Whether an address of this node is in one of the networks."""
        nodes = [ip_address(ip) for ip in self.node_addresses]
        return any(node in ip_network(network, strict=False) for network in networks for node in nodes)

    def node_port_places(self, version: int) -> tuple[str, ...] | None:
        """Networks of a version of IP in which node ports answer; None where all of the node's addresses do."""
        asked = tuple(one for one in self.node_port_networks if one != PRIMARY)
        found = tuple(one for one in asked if version_of(one) == version)
        if PRIMARY in self.node_port_networks:
            own = (one for one in self.node_addresses if version_of(one) == version)
            return found + tuple(islice(own, 1))
        return None if not found or any(one.endswith("/0") for one in found) else found

    @property
    def serves_localhost(self) -> bool:
        """Whether node ports answer at 127.0.0.1: it is asked for, and among the networks where they do."""
        if not (self.localhost_node_ports and self.pod_cidr):
            return False
        places = self.node_port_places(4)
        return places is None or any(_LOCALHOST.overlaps(IPv4Network(one, strict=False)) for one in places)

    def counting(self, counter: str) -> str:
        """What a rule has before its target to count into one of the kernel's counters; "" where there is none."""
        return f"-m nfacct --nfacct-name {counter} " if counter in self.counters else ""


@dataclass(slots=True)
class Tables:
    """Chains and their rules, by table. A rule is what stands after ``-A CHAIN``."""

    filter: Chains = field(default_factory=dict)
    nat: Chains = field(default_factory=dict)

    def by_name(self) -> Mapping[str, Chains]:
        return {"filter": self.filter, "nat": self.nat}


def _digest(*parts: str) -> str:
    return base64.b32encode(hashlib.sha256("".join(parts).encode()).digest())[:16].decode()


def chain_of(kind: str, port: ServicePort) -> str:
    """A port's chain of a kind: SVC, SVL, EXT or FW. 25 characters; iptables takes at most 28."""
    return f"KUBE-{kind}-{_digest(port.title, port.protocol.lower())}"


def endpoint_chain(port: ServicePort, endpoint: Endpoint) -> str:
    return f"KUBE-SEP-{_digest(port.title, port.protocol.lower(), endpoint.address)}"


def fixed(settings: Settings, version: int = 4) -> Tables:
    """The chains that are there without any service, with what stands first in them."""
    tables = Tables({name: [] for name in FIXED["filter"]}, {name: [] for name in FIXED["nat"]})
    tables.nat["KUBE-MARK-MASQ"].append(f"-j MARK --or-mark {MARK}")
    tables.nat["KUBE-POSTROUTING"] += [
        f"-m mark ! --mark {MASQUERADE} -j RETURN",
        f"-j MARK --xor-mark {MARK}",
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ]
    tables.nat["KUBE-SERVICES"] += [*_to_portals(version), *_to_node_ports(settings, version)]
    dropped = settings.counting(INVALID_DROPPED)
    tables.filter["KUBE-FORWARD"] += [
        *([f"-m conntrack --ctstate INVALID {dropped}-j DROP"] if settings.drop_invalid else []),
        f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {MASQUERADE} -j ACCEPT',
        f"{_FOLLOWING} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    if version == 4 and settings.serves_localhost:
        # Routing 127.0.0.1 elsewhere, as its node ports need, must not lead others to what listens there alone.
        tables.filter["KUBE-FIREWALL"].append(
            f'-m comment --comment "block incoming localnet connections" -d {_LOCALHOST} ! -s {_LOCALHOST} '
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        )
    return tables


def portal(ip: str) -> str:
    """The chain of nat that holds what is served at an address."""
    return PORTALS[int(ip_address(ip)) % len(PORTALS)]


def _to_portals(version: int) -> list[str]:
    address = IPv4Address if version == 4 else IPv6Address
    mask = address(len(PORTALS) - 1)
    return [f"-d {address(bits)}/{mask} -j {chain}" for bits, chain in enumerate(PORTALS)]


def _to_node_ports(settings: Settings, version: int) -> list[str]:
    """What must stand last in nat's KUBE-SERVICES: node ports, which any address of the node may have."""
    local = "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    comment = (
        '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    )
    networks = settings.node_port_places(version)
    if networks is None and version == 4 and not settings.serves_localhost:
        return [f"! -d {_LOCALHOST} {comment} {local}"]
    # The kernel routes nothing from IPv6's loopback address to anywhere else, and would complain of each packet.
    everywhere = "" if version == 4 else f"! -d {IPV6.loopback}/128 "
    places = [everywhere] if networks is None else [f"-d {network} " for network in networks]
    return [f"{where}{comment} {local}" for where in places]


def fragment(ports: Sequence[ServicePort], settings: Settings, *, named: bool = True) -> Tables:
    """What one service adds: chains of its own, and its rules of the fixed ones.

    Where it is not ``named``, the rule that leads from the cluster IP has no comment.
    """
    tables = Tables(defaultdict(list), defaultdict(list))
    for port in ports:
        _Port(port, settings, tables, named=named).write()
    for number, title in {one.health_check_port: f"{one.namespace}/{one.service}" for one in ports}.items():
        if number:
            comment = f'-m comment --comment "{title} health check node port"'
            tables.filter["KUBE-NODEPORTS"].append(f"{comment} -m tcp -p tcp --dport {number} -j ACCEPT")
    return tables


class _Port:
    """The chains of one port, written into ``tables``."""

    def __init__(self, port: ServicePort, settings: Settings, tables: Tables, *, named: bool) -> None:
        self.port, self.settings, self.tables, self.named = port, settings, tables, named
        self.protocol = port.protocol.lower()
        self.family = family_of(port.cluster_ip)
        self.pods = settings.pod_network(self.family.version)
        self.everywhere = preferred(port.endpoints)
        self.here = usable(one for one in port.endpoints if one.local)
        self.used: set[Endpoint] = set()

    def write(self) -> None:
        self._cluster_ip()
        if self.port.is_external:
            self._from_outside()
        for endpoint in sorted(self.used):
            self._endpoint(endpoint)

    def _match(self, ip: str, number: int) -> str:
        where = f"-d {ip}/{self.family.length} " if ip else ""
        return f"{where}-p {self.protocol} -m {self.protocol} --dport {number}"

    def _comment(self, what: str) -> str:
        return f'-m comment --comment "{self.port.title} {what}"'

    def _cluster_ip(self) -> None:
        port = self.port
        match = self._match(port.cluster_ip, port.port)
        answering = self.here if port.internal_local else self.everywhere
        if not answering:
            self._refuse(match, "KUBE-SERVICES", dropped=bool(self.everywhere))
            return
        chain = chain_of("SVL" if port.internal_local else "SVC", port)
        comment = f"{self._comment('cluster IP')} " if self.named else ""
        self.tables.nat[portal(port.cluster_ip)].append(f"{comment}{match} -j {chain}")
        self._balance(chain, answering)

    def _masquerade(self) -> str:
        """Which callers of the cluster IP must look as if they came from this node: those that are no pods."""
        outsiders = "" if self.settings.masquerade_all else f"! -s {self.pods} "
        match = self._match(self.port.cluster_ip, self.port.port)
        return f"{outsiders}{match} -j KUBE-MARK-MASQ"

    def _balance(self, chain: str, endpoints: tuple[Endpoint, ...]) -> None:
        """A chain that picks one of some endpoints: the one the client had, else each with the same chance."""
        if chain in self.tables.nat:
            return
        rules = self.tables.nat[chain] = [self._masquerade()]
        if self.port.affinity:
            remembered = f"--rcheck --seconds {self.port.affinity} --reap"
            for one in endpoints:
                target = endpoint_chain(self.port, one)
                rules.append(f"{self._towards(one)} -m recent --name {target} {remembered} -j {target}")
        for index, one in enumerate(endpoints):
            left = len(endpoints) - index
            chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
            if self._has_chain(one):
                self.used.add(one)
                rules.append(f"{self._towards(one)} {chance}-j {endpoint_chain(self.port, one)}")
            else:
                rules.append(f"{chance}{self._rewritten(one)}")

    def _towards(self, endpoint: Endpoint) -> str:
        return self._comment(f"-> {endpoint.address}")

    def _has_chain(self, endpoint: Endpoint) -> bool:
        """Whether more is done for an endpoint than giving a packet its address: it is remembered, or it may be the caller.

        Who calls through this node is on it, but for pods that call the node from outside where callers keep their address.
        Of an endpoint without a node nobody knows where it is.
        """
        port = self.port
        kept = port.is_external and port.external_local
        return bool(port.affinity) or kept or endpoint.local or endpoint.unplaced

    def _rewritten(self, endpoint: Endpoint) -> str:
        return f"-p {self.protocol} -j DNAT --to-destination {endpoint.address}"

    def _endpoint(self, endpoint: Endpoint) -> None:
        chain = endpoint_chain(self.port, endpoint)
        comment = f'-m comment --comment "{self.port.title}"'
        remember = f"-m recent --name {chain} --set " if self.port.affinity else ""
        self.tables.nat[chain] = [
            f"{comment} -s {endpoint.ip}/{self.family.length} -j KUBE-MARK-MASQ",
            f"{comment} {remember}{self._rewritten(endpoint)}",
        ]

    def _from_outside(self) -> None:
        """Node ports, external IPs and load balancers' IPs."""
        port = self.port
        answering = self.here if port.external_local else self.everywhere
        for what, ip, number in self._outside():
            match = self._match(ip, number)
            if not answering:
                self._refuse(match, "KUBE-EXTERNAL-SERVICES", dropped=bool(self.everywhere))
            if self.everywhere:
                entry = self._entry(what)
                if not ip:
                    self._count_localhost(match, entry)
                self.tables.nat[portal(ip) if ip else "KUBE-NODEPORTS"].append(
                    f"{self._comment(what)} {match} -j {entry}"
                )
        if self.everywhere:
            self._external_chain()

    def _count_localhost(self, match: str, entry: str) -> None:
        """Node ports answer at 127.0.0.1 in no other mode, so whether anybody calls them there can be seen."""
        counting = self.settings.counting(LOCALHOST_ACCEPTED)
        if counting and self.family is IPV4 and self.settings.serves_localhost:
            self.tables.nat["KUBE-NODEPORTS"].append(
                f"{self._comment('node port')} -d {_LOCALHOST} {match} {counting}-j {entry}"
            )

    def _outside(self) -> Iterator[tuple[str, str, int]]:
        """What it is called at, the address ("" for any of the node) and the number."""
        port = self.port
        for ip in port.external_ips:
            yield "external IP", ip, port.port
        for ip in port.balancer_ips:
            yield "loadbalancer IP", ip, port.port
        if port.node_port:
            yield "node port", "", port.node_port

    def _entry(self, what: str) -> str:
        if what == "loadbalancer IP" and self.port.source_ranges:
            self._firewall()
            return chain_of("FW", self.port)
        return chain_of("EXT", self.port)

    def _firewall(self) -> None:
        """Only the ranges that the service allows reach it through its load balancer's IP."""
        chain, port = chain_of("FW", self.port), self.port
        if chain in self.tables.nat:
            return
        comment, target = self._comment("loadbalancer IP"), chain_of("EXT", port)
        sources = [*port.source_ranges]
        if self.settings.is_here_within(sources):
            # Where the balancer's IP is an address of this node, what the node itself sends there comes from it.
            sources += port.balancer_ips
        self.tables.nat[chain] = [f"{comment} -s {source} -j {target}" for source in sources]
        dropped = self._comment("traffic not accepted by " + chain)
        self.tables.filter["KUBE-PROXY-FIREWALL"] += [
            f"{dropped} {self._match(ip, port.port)} -j DROP" for ip in port.balancer_ips
        ]

    def _external_chain(self) -> None:
        port = self.port
        chain, any_node = chain_of("EXT", port), chain_of("SVC", port)
        rules = self.tables.nat[chain] = []
        self._balance(any_node, self.everywhere)
        if not port.external_local:
            rules += [f"{self._external_comment('masquerade')} -j KUBE-MARK-MASQ", f"-j {any_node}"]
            return
        from_here = "-m addrtype --src-type LOCAL"
        rules += [
            f"{self._external_comment('pod')} -s {self.pods} -j {any_node}",
            f"{self._external_comment('masquerade LOCAL')} {from_here} -j KUBE-MARK-MASQ",
            f"{self._external_comment('route LOCAL')} {from_here} -j {any_node}",
        ]
        if self.here:
            self._balance(chain_of("SVL", port), self.here)
            rules.append(f"-j {chain_of('SVL', port)}")

    def _external_comment(self, what: str) -> str:
        return f'-m comment --comment "{what} traffic for {self.port.title} external destinations"'

    def _refuse(self, match: str, chain: str, *, dropped: bool) -> None:
        """Nobody answers: tell the client at once; drop it where another node would have answered."""
        # A node port is one of this node alone: the same port of another node, or of anybody, is none of our business.
        local = "" if match.startswith("-d") else "-m addrtype --dst-type LOCAL "
        what, target = ("has no local endpoints", "DROP") if dropped else ("has no endpoints", "REJECT")
        self.tables.filter[chain].append(f"{self._comment(what)} {local}{match} -j {target}")
