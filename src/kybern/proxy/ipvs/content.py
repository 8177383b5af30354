"""The ports of a service as virtual servers and members of sets. Pure: the same ports always give the same.

An address of a service has one virtual server, whoever calls it. So with ``externalTrafficPolicy: Local`` this node's
endpoints answer pods of this node, too; where there are none here, all do, since a pod may call a service from anywhere
(upstream's syncEndpoint), and strangers get no answer, because theirs comes from an address that they did not call.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from kybern.proxy.elements import networks
from kybern.proxy.families import BOTH, plain, version_of
from kybern.proxy.ipvs import sets
from kybern.proxy.ipvs.servers import Real, Server, Terms, Wanted
from kybern.proxy.ipvs.sets import Entry
from kybern.proxy.model import Endpoint, ServicePort, preferred, usable
from kybern.proxy.rules import Settings

# Sets whose members say nothing of who is called, so that several services may have the same one.
COUNTED = frozenset(sets.TYPES) - {
    sets.CLUSTER_IP,
    sets.EXTERNAL_IP,
    sets.EXTERNAL_IP_LOCAL,
    sets.BALANCER,
    sets.BALANCER_LOCAL,
    sets.GUARDED,
    sets.SOURCE_IP,
    sets.SOURCE_CIDR,
}


@dataclass(frozen=True, slots=True)
class Here:
    """What of this node counts: its own addresses, and those among them at which node ports answer."""

    own: frozenset[str] = frozenset()
    node_ports: tuple[str, ...] = ()


@dataclass(slots=True)
class Content:
    """What one service adds."""

    servers: dict[Server, Wanted] = field(default_factory=dict)
    entries: set[Entry] = field(default_factory=set)


def here(addresses: Sequence[str], settings: Settings, version: int) -> Here:
    """What counts of the addresses that the node has on devices that are not ours."""
    own = [one for one in addresses if version_of(one) == version]
    places = settings.node_port_places(version)
    if places is None:
        return Here(frozenset(own), tuple(sorted(own)))
    ranges = [ip_network(place, strict=False) for place in places]
    found = (one for one in own if any(ip_network(one).subnet_of(each) for each in ranges))  # type: ignore[arg-type]  # one version
    return Here(frozenset(own), tuple(sorted(found)))


def servers(ports: Sequence[ServicePort], place: Here) -> Iterator[Server]:
    """Every server that the ports ask for. One belongs to one service only, whoever else asks for it."""
    for port in ports:
        for ip in (port.cluster_ip, *port.external_ips, *port.balancer_ips):
            yield Server(plain(ip), port.protocol, port.port)
        if port.node_port:
            for ip in place.node_ports:
                yield Server(ip, port.protocol, port.node_port)


class Writer:
    """Makes the content of services. ``scheduler`` is how all servers choose."""

    def __init__(self, settings: Settings, scheduler: str, place: Here) -> None:
        self.settings, self.scheduler, self.place = settings, scheduler, place

    def content(self, ports: Sequence[ServicePort], taken: frozenset[Server] = frozenset()) -> Content:
        """What one service adds. ``taken`` are servers that others have."""
        found = Content()
        for port in ports:
            _Port(port, self, taken, found).write()
        return found


class _Port:
    """What one port adds to ``found``."""

    def __init__(self, port: ServicePort, writer: Writer, taken: frozenset[Server], found: Content) -> None:
        self.port, self.writer, self.taken, self.found = port, writer, taken, found
        self.protocol = port.protocol.lower()
        self.terms = Terms(writer.scheduler, port.affinity)
        self.everywhere = preferred(port.endpoints)
        self.here = usable(one for one in port.endpoints if one.local)

    def write(self) -> None:
        port = self.port
        if self._serve(
            cluster_ip := plain(port.cluster_ip), self.here if port.internal_local else self.everywhere
        ):
            self._enter(sets.CLUSTER_IP, cluster_ip)
        outside = (self.here or self.everywhere) if port.external_local else self.everywhere
        for ip in map(plain, port.external_ips):
            if self._serve(ip, outside):
                self._enter(sets.EXTERNAL_IP_LOCAL if port.external_local else sets.EXTERNAL_IP, ip)
        for ip in map(plain, port.balancer_ips):
            if self._serve(ip, outside):
                self._balancer(ip)
        if port.node_port:
            self._node_port(outside)
        if port.health_check_port:
            self.found.entries.add((sets.HEALTH_PORT, str(port.health_check_port)))
        self._hairpins()

    def _serve(self, ip: str, answering: tuple[Endpoint, ...]) -> bool:
        """A server at an address of the service, which becomes the node's. False when another one has it."""
        server = Server(ip, self.port.protocol, self.port.port)
        if server in self.taken or server in self.found.servers:
            return False
        self._balance(server, answering)
        if ip not in self.writer.place.own:
            self.found.entries.add((sets.IPS, ip))
        return True

    def _balance(self, server: Server, answering: tuple[Endpoint, ...]) -> None:
        reals = dict.fromkeys(Real(plain(one.ip), one.port) for one in answering)
        self.found.servers[server] = Wanted(self.terms, tuple(reals))

    def _enter(self, name: str, ip: str, *more: str) -> None:
        self.found.entries.add((name, ",".join((ip, f"{self.protocol}:{self.port.port}", *more))))

    def _balancer(self, ip: str) -> None:
        port = self.port
        self._enter(sets.BALANCER, ip)
        if port.external_local:
            self._enter(sets.BALANCER_LOCAL, ip)
        allowed = networks(port.source_ranges, BOTH[version_of(ip) == 6])
        if not allowed or any(one.endswith("/0") for one in allowed):
            return
        self._enter(sets.GUARDED, ip)
        for one in allowed:
            self._enter(sets.SOURCE_CIDR, ip, one.removesuffix("/128" if ":" in one else "/32"))
        if self.writer.settings.is_here_within(allowed):
            # What the node itself sends to an address of its own comes from that address.
            self._enter(sets.SOURCE_IP, ip, ip)

    def _node_port(self, answering: tuple[Endpoint, ...]) -> None:
        port, place = self.port, self.writer.place
        free = [ip for ip in place.node_ports if self._is_free(Server(ip, port.protocol, port.node_port))]
        for ip in free:
            self._balance(Server(ip, port.protocol, port.node_port), answering)
        for local in (False, True) if port.external_local else (False,):
            name = sets.node_ports(port.protocol, local=local)
            if port.protocol == "SCTP":
                self.found.entries.update((name, f"{ip},sctp:{port.node_port}") for ip in free)
            elif free:
                self.found.entries.add((name, str(port.node_port)))

    def _is_free(self, server: Server) -> bool:
        return server not in self.taken and server not in self.found.servers

    def _hairpins(self) -> None:
        """Who calls a service and is given to itself must see another caller, or it would answer past the proxy."""
        for one in (*self.everywhere, *self.here):
            if one.local or one.unplaced:
                ip = plain(one.ip)
                self.found.entries.add((sets.LOOP_BACK, f"{ip},{self.protocol}:{one.port},{ip}"))
