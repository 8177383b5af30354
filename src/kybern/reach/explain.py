"""Where a packet stayed that did not arrive: the hops of its way, in order, each looked at with what was seen. Pure.

A hop is a function from the way to what is wrong there, or nothing. A finding is what stands against the packet, not what
might: a hop about which nothing could be seen is passed over, and when all hops are as they should be, that is said, since
then it is the network between the machines that does not carry the packet.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.reach import hops
from kybern.reach.hops import BRIDGE
from kybern.reach.probes import (
    CUT,
    KUBELET_PORT,
    NO_NAME,
    PORT,
    SERVICE_PORT,
    Place,
    Probe,
    Result,
    Way,
    version_of,
)
from kybern.reach.seen import Seen
from kybern.reach.seen import rules as chains


@dataclass(frozen=True, slots=True)
class Names:
    """Cluster DNS: its Service's address, the addresses behind it, and the daemon's state by master."""

    address: str = ""
    endpoints: tuple[str, ...] = ()
    daemons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Path:
    """A failed probe with both its ends. ``before`` and ``after`` are looks around one more try; there is no end outside."""

    failed: Result
    source: Place
    target: Place | None
    here: Seen
    there: Seen
    before_here: Seen
    before_there: Seen
    names: Names = Names()

    @property
    def probe(self) -> Probe:
        return self.failed.probe

    @property
    def is_local(self) -> bool:
        return self.target is not None and self.source.node == self.target.node

    @property
    def to(self) -> str:
        """The address that packets bear once services are resolved."""
        if self.target is None:
            return self.probe.at
        return self.target.address if self.probe.way is Way.NODE else self.target.server_ip


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, on which node, at which hop."""

    hop: str
    node: str
    text: str


def explain(path: Path) -> tuple[Finding, ...]:
    """All findings, in the packet's order: the first is where it stayed."""
    return tuple(_found(path)) or (_nothing(path),)


def _found(path: Path) -> Iterator[Finding]:
    for hop, at, look in _hops(path):
        seen, node = (path.here, path.source.node) if at == "source" else _end(path)
        if not seen.answered:
            if hop == "machine":
                yield Finding(hop, node, "cannot be looked at: it does not answer by SSH")
        elif hop != "machine" and (text := look(path, seen)):
            yield Finding(hop, node, text)


def _end(path: Path) -> tuple[Seen, str]:
    return path.there, path.target.node if path.target else ""


def _nothing(path: Path) -> Finding:
    if path.probe.way is Way.OUTSIDE:
        text = f"sends the packet on as it should; what lies beyond does not answer for {path.probe.at}"
    elif path.failed.error == CUT and not path.is_local:
        text = (
            "all hops of both nodes are as they should be and small packets arrive: what lies between the machines takes "
            "smaller ones than their links say; lower the MTU of these links, which that of the pods follows"
        )
    elif path.is_local:
        text = (
            "all hops are as they should be; the answer is lost within the node (a rule of somebody else's?)"
        )
    else:
        text = (
            "all hops of both nodes are as they should be: look at what lies between the machines (a switch, a security "
            "group, an MTU that is too large)"
        )
    return Finding("between", path.source.node, text)


type Look = Callable[[Path, Seen], str]
type Hop = tuple[str, str, Look]


def _hops(path: Path) -> tuple[Hop, ...]:
    if path.probe.way is Way.NAME and path.failed.error.startswith(NO_NAME):
        return NAMES
    return HOPS[path.probe.way]


def _machine(_path: Path, _seen: Seen) -> str:
    return ""


def _source_veth(path: Path, seen: Seen) -> str:
    return hops.veth(path.source.asker, path.source.asker_ip, seen)


def _target_veth(path: Path, seen: Seen) -> str:
    return hops.veth(path.target.server, path.target.server_ip, seen) if path.target else ""


def _bridge(path: Path, seen: Seen) -> str:
    if BRIDGE not in seen.links:
        active = seen.units.get("kybern-pod-network") == "active"
        return f"the bridge {BRIDGE} is missing although pods run" if active else ""
    if "UP" not in seen.links[BRIDGE].get("flags", ()):
        return f"the bridge {BRIDGE} is down"
    # Every link that is up has an address of IPv6 that is its own, and nobody's gateway.
    own = (ip for ip, link in seen.addresses.items() if link == BRIDGE and not ip.startswith("fe80:"))
    if any(version_of(ip) == path.probe.version for ip in own):
        return ""
    return f"the bridge {BRIDGE} has no address of IPv{path.probe.version}: pods have no gateway"


def _forwarding(path: Path, seen: Seen) -> str:
    name = "net.ipv4.ip_forward" if path.probe.version == 4 else "net.ipv6.conf.all.forwarding"
    off = seen.sysctls.get(name) == "0"
    return f"{name} is 0: the node does not pass packets on for its pods" if off else ""


def _frames(path: Path, seen: Seen) -> str:
    """Packets of a Service whose endpoint is on the caller's node stay within the bridge on their way back."""
    name = "net.bridge.bridge-nf-call-" + ("iptables" if path.probe.version == 4 else "ip6tables")
    off = seen.sysctls.get(name, "") != "1"
    if not off or not path.is_local or "table bridge kybern" in seen.nft:
        return ""
    return (
        f"{name} is not 1: answers of a pod to one of its own node pass by the rules that "
        "turn a Service's address back (load br_netfilter)"
    )


def _route(path: Path, seen: Seen) -> str:
    address, outer = (path.target.address, path.target.outer) if path.target else ("", "")
    return hops.way(seen, path.to, address, outer, local=path.is_local)


def _route_back(path: Path, seen: Seen) -> str:
    back = path.source.address if path.probe.way is Way.NODE else path.source.asker_ip
    if path.is_local or not back:
        return ""
    return hops.way(seen, back, path.source.address, path.source.outer, local=False)


def _dropped_here(path: Path, seen: Seen) -> str:
    return hops.dropped(path.before_here, seen)


def _dropped_there(path: Path, seen: Seen) -> str:
    return "" if path.is_local else hops.dropped(path.before_there, seen)


def _service(path: Path, seen: Seen) -> str:
    assert path.target is not None, "services lead to nodes"
    return hops.served(seen, path.target.service_ip, SERVICE_PORT, "tcp", ((path.target.server_ip, PORT),))


def _dns_service(path: Path, seen: Seen) -> str:
    if not path.names.address:
        return "the Service kube-system/kube-dns is missing"
    if not path.names.endpoints:
        return "the Service kube-system/kube-dns has no endpoints: no kybern-dns renews its lease"
    return hops.served(seen, path.names.address, 53, "udp", tuple((one, 53) for one in path.names.endpoints))


def _daemons(path: Path, _seen: Seen) -> str:
    down = [f"{node} ({state})" for node, state in sorted(path.names.daemons.items()) if state != "active"]
    return f"kybern-dns does not run on {', '.join(down)}" if down else ""


def _masquerade(path: Path, seen: Seen) -> str:
    rules = chains(seen, path.probe.version).splitlines()
    if not rules:
        return ""
    if not any("-A POSTROUTING" in one and "-j KYBERN-PODS" in one for one in rules):
        return "nothing leads from POSTROUTING to KYBERN-PODS: pods leave with addresses that nobody outside knows"
    if not any("-A KYBERN-PODS" in one and "-j MASQUERADE" in one for one in rules):
        return "the chain KYBERN-PODS does not masquerade: restart kybern-firewall"
    return hops.neighbour(seen, path.probe.at)


def _kubelet(_path: Path, seen: Seen) -> str:
    state = seen.units.get("kubelet", "")
    return (
        f"the kubelet does not run ({state}): nobody listens on {KUBELET_PORT}"
        if state not in ("active", "")
        else ""
    )


_LEAVING: tuple[Hop, ...] = (
    ("machine", "source", _machine),
    ("pod veth", "source", _source_veth),
    ("bridge", "source", _bridge),
    ("forwarding", "source", _forwarding),
)
_CROSSING: tuple[Hop, ...] = (
    ("route", "source", _route),
    ("firewall", "source", _dropped_here),
    ("machine", "target", _machine),
    ("firewall", "target", _dropped_there),
)
_ARRIVING: tuple[Hop, ...] = (
    ("forwarding", "target", _forwarding),
    ("bridge", "target", _bridge),
    ("pod veth", "target", _target_veth),
    ("route back", "target", _route_back),
)
_SERVICE: tuple[Hop, ...] = (("service", "source", _service), ("bridge netfilter", "source", _frames))

HOPS: Mapping[Way, tuple[Hop, ...]] = {
    Way.NODE: (
        ("machine", "source", _machine),
        *_CROSSING,
        ("endpoint", "target", _kubelet),
        ("route back", "target", _route_back),
    ),
    Way.POD: (*_LEAVING, *_CROSSING, *_ARRIVING),
    Way.SERVICE: (*_LEAVING, *_SERVICE, *_CROSSING, *_ARRIVING),
    Way.NAME: (*_LEAVING, *_SERVICE, *_CROSSING, *_ARRIVING),
    Way.OUTSIDE: (
        *_LEAVING,
        ("route", "source", _route),
        ("masquerade", "source", _masquerade),
        ("firewall", "source", _dropped_here),
    ),
}
NAMES: tuple[Hop, ...] = (
    *_LEAVING,
    ("service", "source", _dns_service),
    ("name server", "source", _daemons),
    ("firewall", "source", _dropped_here),
)
