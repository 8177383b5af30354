"""The ports of a service as elements of nftables' maps and sets. Pure: the same ports always give the same elements.

A service costs no rule and no chain. Where upstream has a chain for each port and each endpoint (pkg/proxy/nftables), here a
port is one element of ``service-ips``, which sends a packet to the chain for its *number* of endpoints, and that chain's one
rule draws a number and looks the endpoint up: ``tcp-endpoints`` holds ``ADDRESS . PORT . NUMBER : ENDPOINT . PORT``.
So the rules stay a handful whatever the services are: the kernel and ``nft`` take a second for 10,000 services instead of
a minute, and a few milliseconds for a change, since neither has chains by the thousand to read, check and name.

Only what needs memory or a list of its own has chains of its own, under upstream's names: a port with session affinity (a
dynamic set for each endpoint) and one with ranges of allowed sources. Their names have a "/", those of all others none.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from kybern.proxy.families import Family
from kybern.proxy.model import Endpoint, ServicePort, preferred, usable
from kybern.proxy.rules import Settings

MARK = "mark-for-masquerade"
REJECT = "reject-chain"
_NAME_LIMIT = 240  # characters of a chain's name after its prefix; the kernel takes 256 in all

type Element = tuple[str, str]
"""Map or set, and key."""


@dataclass(slots=True)
class Content:
    """What services add to a table. An element's value is what stands behind its key; a set's is its time-out in seconds."""

    elements: dict[Element, str] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)


def keys(ports: Sequence[ServicePort]) -> Iterator[str]:
    """Every address that the ports answer at. One belongs to one service only, whoever else asks for it."""
    for port in ports:
        for ip in (port.cluster_ip, *port.external_ips, *port.balancer_ips):
            yield _key(ip, port.protocol, port.port)
        if port.node_port:
            yield _key("", port.protocol, port.node_port)


def content(
    ports: Sequence[ServicePort], settings: Settings, family: Family, taken: frozenset[str] = frozenset()
) -> Content:
    """What one service adds. ``taken`` are addresses that others have."""
    found = Content()
    for port in ports:
        _Port(port, settings, family, found).write(taken)
    return found


def base_name(port: ServicePort, endpoint: Endpoint | None = None) -> str:
    """What the names of a port's chains end in: HASH-NAMESPACE/SERVICE/PROTOCOL/PORT, and __IP/PORT for an endpoint's."""
    name = f"{port.namespace}/{port.service}/{port.protocol.lower()}/{port.name}"
    if endpoint:
        name += f"__{endpoint.ip.replace(':', '.')}/{endpoint.port}"
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest())[:8].decode()
    return f"{digest}-{name}"[:_NAME_LIMIT]


def networks(texts: Sequence[str], family: Family) -> list[str]:
    """Networks of a family, none within another: nftables refuses ranges that overlap. What is no network is left out."""
    if family.version == 4:
        return [str(one) for one in collapse_addresses(_parsed(texts, IPv4Network))]
    return [str(one) for one in collapse_addresses(_parsed(texts, IPv6Network))]


def _parsed[N: (IPv4Network, IPv6Network)](texts: Sequence[str], kind: type[N]) -> Iterator[N]:
    for text in texts:
        with suppress(ValueError):
            yield kind(text, strict=False)


def _key(ip: str, protocol: str, number: int) -> str:
    return f"{ip} . {protocol.lower()} . {number}" if ip else f"{protocol.lower()} . {number}"


class _Port:
    """What one port adds to ``found``."""

    def __init__(self, port: ServicePort, settings: Settings, family: Family, found: Content) -> None:
        self.port, self.settings, self.family, self.found = port, settings, family, found
        self.everywhere = preferred(port.endpoints)
        self.here = usable(one for one in port.endpoints if one.local)

    def write(self, taken: frozenset[str]) -> None:
        port = self.port
        self.found.elements["cluster-ips", port.cluster_ip] = ""
        answering = self.here if port.internal_local else self.everywhere
        key = _key(port.cluster_ip, port.protocol, port.port)
        if key not in taken:
            self._refuse("no-endpoint-services", key, answering)
            if answering:
                self._send("service-ips", key, self._pick("", key, answering))
        for kind, ip, number in self._outside():
            key = _key(ip, port.protocol, number)
            if key not in taken:
                self._external(kind, key)
        self._guard(taken)
        self._hairpins()

    def _outside(self) -> Iterator[tuple[str, str, int]]:
        """What is called from outside: the kind of maps that it stands in, address and port."""
        for ip in dict.fromkeys((*self.port.external_ips, *self.port.balancer_ips)):
            yield "", ip, self.port.port
        if self.port.node_port:
            yield "nodeport-", "", self.port.node_port

    def _external(self, kind: str, key: str) -> None:
        into = "service-nodeports" if kind else "service-ips"
        if (into, key) in self.found.elements:
            return
        self._refuse(
            "no-endpoint-nodeports" if kind else "no-endpoint-services",
            key,
            self.here if self.port.external_local else self.everywhere,
        )
        if self.everywhere:
            self._send(into, key, self._entry(kind, key))

    def _send(self, into: str, key: str, chain: str) -> None:
        self.found.elements[into, key] = f' comment "{self.port.title}" : goto {chain}'

    def _refuse(self, into: str, key: str, answering: tuple[Endpoint, ...]) -> None:
        """Nobody answers: tell the client at once; drop it where another node would have answered."""
        if not answering:
            verdict = "drop" if self.everywhere else f"goto {REJECT}"
            self.found.elements[into, key] = f' comment "{self.port.title}" : {verdict}'

    def _pick(self, kind: str, key: str, endpoints: tuple[Endpoint, ...], offset: int = 0) -> str:
        """The chain that draws one of some endpoints, which are numbered from ``offset`` on under the address's key."""
        if self.port.affinity:
            return self._remembering("service" if endpoints == self.everywhere else "local", endpoints)
        protocol = self.port.protocol.lower()
        place = key.replace(f"{protocol} . ", "", 1)
        for number, one in enumerate(endpoints, offset):
            element = f"{kind}{protocol}-endpoints", f"{place} . {number}"
            self.found.elements[element] = f" : {one.ip} . {one.port}"
        drawn = f"numgen random mod {len(endpoints)}" + (f" offset {offset}" if offset else "")
        asked = f"{protocol} dport" if kind else f"{self.family.name} daddr . {protocol} dport"
        name = f"{kind}{protocol}-pick-{len(endpoints)}" + (f"-from-{offset}" if offset else "")
        self.found.chains[name] = (
            f"dnat {self.family.name} to {asked} . {drawn} map @{kind}{protocol}-endpoints",
        )
        return name

    def _entry(self, kind: str, key: str) -> str:
        """The chain for who comes from outside: masqueraded to any endpoint, or as they are to those of this node."""
        name = f"external-{base_name(self.port)}" if self.port.affinity else ""
        if not self.port.external_local:
            chain = self._pick(kind, key, self.everywhere)
            name = name or f"{kind}{self.port.protocol.lower()}-external-{len(self.everywhere)}"
            self.found.chains[name] = (f"jump {MARK}", f"goto {chain}")
            return name
        here = self._pick(kind, key, self.here) if self.here else ""
        chain = self._pick(kind, key, self.everywhere, len(self.here))
        name = name or f"{kind}{self.port.protocol.lower()}-local-{len(self.here)}-{len(self.everywhere)}"
        pods = f"{self.family.name} saddr {self.settings.pod_network(self.family.version)}"
        # As if pods and this node had gone out and come back by the load balancer: to any endpoint.
        self.found.chains[name] = (
            f"{pods} goto {chain}",
            f"fib saddr type local jump {MARK}",
            f"fib saddr type local goto {chain}",
            *([f"goto {here}"] if here else []),
        )
        return name

    def _remembering(self, kind: str, endpoints: tuple[Endpoint, ...]) -> str:
        """A chain of the port's own, which asks first which endpoint the client had, and the endpoints' chains."""
        port, family = self.port, self.family
        name = f"{kind}-{base_name(port)}"
        targets = []
        for one in endpoints:
            base = base_name(port, one)
            chain, known = f"endpoint-{base}", f"affinity-{port.affinity}-{base}"
            self.found.sets[known] = port.affinity
            self.found.chains[chain] = (
                f"update @{known} {{ {family.name} saddr }}",
                f"meta l4proto {port.protocol.lower()} dnat to {one.address}",
            )
            targets.append((known, chain))
        drawn = ", ".join(f"{number} : goto {chain}" for number, (_, chain) in enumerate(targets))
        self.found.chains[name] = (
            *(f"{family.name} saddr @{known} goto {chain}" for known, chain in targets),
            f"numgen random mod {len(targets)} vmap {{ {drawn} }}",
        )
        return name

    def _guard(self, taken: frozenset[str]) -> None:
        """Only the ranges that the service allows reach it through its load balancer's IP."""
        port = self.port
        allowed = networks(port.source_ranges, self.family)
        if not allowed or not port.balancer_ips:
            return
        if self.settings.is_here_within(allowed):
            # Where the balancer's IP is an address of this node, what the node itself sends there comes from it.
            allowed = networks([*allowed, *port.balancer_ips], self.family)
        name = f"firewall-{base_name(port)}"
        self.found.chains[name] = (f"{self.family.name} saddr != {{ {', '.join(allowed)} }} drop",)
        for ip in port.balancer_ips:
            if (key := _key(ip, port.protocol, port.port)) not in taken:
                self.found.elements["firewall-ips", key] = f' comment "{port.title}" : goto {name}'

    def _hairpins(self) -> None:
        """Who calls a service and is given to itself must see another caller, or it would answer past the proxy."""
        for one in (*self.everywhere, *self.here):
            if one.local or one.unplaced:
                self.found.elements["hairpins", f"{one.ip} . {one.ip}"] = ""
