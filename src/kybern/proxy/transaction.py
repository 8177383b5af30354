"""One table of nftables, kept service by service, and the input for ``nft -f`` that makes the kernel's as it. Pure.

Of each service only its ports are kept: what it adds to the table is made from them again when they change, and what differs
is sent. An address that several services ask for belongs to the first of them by name, for the kernel refuses a whole
transaction when two elements of it have one key; when that one goes, the next has it.

Input is ordered so that nothing is named before it is there, nor deleted while something names it: sets and chains,
elements that go, rules, elements that come, chains and sets that go. Chains that services share are never taken away
before all is written anew: there are as many as different numbers of endpoints. All of it needs a kernel from 6.2 on, which
knows at once that an element that was deleted names its chain no longer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kybern.proxy.claims import Claims
from kybern.proxy.elements import MARK as MARK_CHAIN
from kybern.proxy.elements import REJECT, Content, Element, content, keys, networks
from kybern.proxy.families import Family
from kybern.proxy.model import ServicePort
from kybern.proxy.rules import MARK, Settings
from kybern.proxy.ruleset import Key

NAME = "kube-proxy"
COUNTED = ("cluster-ips", "hairpins")  # sets to which several services may add one element
PROTOCOLS = ("tcp", "udp", "sctp")
_DST = -100  # priority at which addresses are rewritten, for those that call and those that answer
_SRC = 100
# Chains that the kernel calls: name, type, hook, priority. What is refused is known before addresses are rewritten, but for
# what this node sends itself: it may go out to an address of a load balancer without endpoints here, as a pod may.
BASES = (
    ("filter-prerouting", "filter", "prerouting", _DST - 10),
    ("filter-input", "filter", "input", _DST - 10),
    ("filter-forward", "filter", "forward", _DST - 10),
    ("filter-output", "filter", "output", _DST - 10),
    ("filter-output-post-dnat", "filter", "output", _DST + 10),
    ("nat-prerouting", "nat", "prerouting", _DST),
    ("nat-output", "nat", "output", _DST),
    ("nat-postrouting", "nat", "postrouting", _SRC),
)


@dataclass(frozen=True, slots=True)
class Present:
    """Names of what the kernel's table has."""

    chains: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()


def containers(family: Family) -> dict[str, str]:
    """Maps and sets that are there without any service, and what each holds."""
    address, ip = family.address, f"{family.name} daddr"
    port = "inet_proto . inet_service"
    found = {
        "cluster-ips": f"set {{ type {address} ; }}",
        "nodeport-ips": f"set {{ type {address} ; flags interval ; }}",
        "hairpins": f"set {{ type {address} . {address} ; }}",
        "service-ips": f"map {{ type {address} . {port} : verdict ; }}",
        "service-nodeports": f"map {{ type {port} : verdict ; }}",
        "no-endpoint-services": f"map {{ type {address} . {port} : verdict ; }}",
        "no-endpoint-nodeports": f"map {{ type {port} : verdict ; }}",
        "firewall-ips": f"map {{ type {address} . {port} : verdict ; }}",
    }
    for protocol in PROTOCOLS:
        # A number that is drawn has no name among the types of nftables; its own expression stands for it. And where a port
        # is "th dport", of any protocol, nft cannot read back what it wrote: so a map for each.
        drawn = f"{protocol} dport . numgen random mod 2 : {ip} . {protocol} dport"
        found[f"{protocol}-endpoints"] = f"map {{ typeof {ip} . {drawn} ; }}"
        found[f"nodeport-{protocol}-endpoints"] = f"map {{ typeof {drawn} ; }}"
    return found


def fixed(settings: Settings, family: Family) -> dict[str, tuple[str, ...]]:
    """Chains that are there without any service, and their rules."""
    ip, port = family.name, "meta l4proto . th dport"
    outside = "" if settings.masquerade_all else f" {ip} saddr != {settings.pod_network(family.version)}"
    places = settings.node_port_places(family.version)
    here = f"{ip} daddr != {family.loopback}" if places is None else f"{ip} daddr @nodeport-ips"
    return {
        "filter-prerouting": ("ct state new jump firewall-check",),
        "filter-input": ("ct state new jump nodeport-check", "ct state new jump service-check"),
        "filter-forward": ("ct state new jump service-check", "ct state new jump cluster-ips-check"),
        "filter-output": ("ct state new jump firewall-check",),
        "filter-output-post-dnat": ("ct state new jump service-check", "ct state new jump cluster-ips-check"),
        "nat-prerouting": ("jump services",),
        "nat-output": ("jump services",),
        "nat-postrouting": ("jump masquerading",),
        "services": (
            f"{ip} daddr @cluster-ips{outside} jump {MARK_CHAIN}",
            f"{ip} daddr . {port} vmap @service-ips",
            f"fib daddr type local {here} {port} vmap @service-nodeports",
        ),
        "service-check": (f"{ip} daddr . {port} vmap @no-endpoint-services",),
        "nodeport-check": (f"{here} {port} vmap @no-endpoint-nodeports",),
        "firewall-check": (f"{ip} daddr . {port} vmap @firewall-ips",),
        "cluster-ips-check": (f"{ip} daddr @cluster-ips reject",),
        REJECT: ("reject",),
        MARK_CHAIN: (f"meta mark set meta mark or {MARK}",),
        "masquerading": (
            f"{ip} saddr . {ip} daddr @hairpins masquerade fully-random",
            f"meta mark and {MARK} == 0 return",
            f"meta mark set meta mark xor {MARK}",
            "masquerade fully-random",
        ),
    }


@dataclass(slots=True)
class _Change:
    """What differs. Elements that come have what stands behind their key."""

    come: dict[Element, str] = field(default_factory=dict)
    go: set[Element] = field(default_factory=set)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)
    lost_chains: set[str] = field(default_factory=set)
    lost_sets: set[str] = field(default_factory=set)


class Table:
    """What one family's table has to be. ``put`` changes one service; ``changes`` and ``everything`` give what is sent."""

    def __init__(self, family: Family, settings: Settings) -> None:
        self.family, self.settings = family, settings
        self._ports: dict[Key, Sequence[ServicePort]] = {}
        self._claims = Claims[str]()
        self._touched: set[Key] = set()
        self._sent: dict[Key, tuple[Sequence[ServicePort], frozenset[str]]] = {}
        self._counts: Counter[Element] = Counter()
        self._shared: set[str] = set()

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        """Make the elements of a service as its ports ask; without ports it has none."""
        before, now = set(keys(self._ports.get(service, ()))), set(keys(ports))
        self._touched |= {service, *self._claims.move(service, before, now)}
        if ports:
            self._ports[service] = ports
        else:
            self._ports.pop(service, None)

    def names(self) -> Present:
        """Every chain, map and set that has to be there once all that is known was sent."""
        own = [
            content(*self._arguments(ports, taken))
            for ports, taken in self._sent.values()
            if any(port.affinity or port.source_ranges for port in ports)
        ]
        chains = {name for one in own for name in one.chains if "/" in name}
        sets = {name for one in own for name in one.sets}
        return Present(
            frozenset({*fixed(self.settings, self.family), *self._shared, *chains}),
            frozenset({*containers(self.family), *sets}),
        )

    def changes(self) -> str:
        """Input for ``nft -f`` that brings the kernel from what was sent to what is asked for now; "" for nothing."""
        change, counts = _Change(), Counter[Element]()
        for service in sorted(self._touched):
            before = self._content(self._sent.pop(service, ((), frozenset())))
            if service in self._ports:
                self._sent[service] = self._asked(service)
            after = self._content(self._sent.get(service, ((), frozenset())))
            self._compare(before, after, change, counts)
        self._touched.clear()
        for element, count in counts.items():
            was = self._counts[element]
            self._counts[element] += count
            if not was and self._counts[element]:
                change.come[element] = ""
            if not self._counts[element]:
                del self._counts[element]
                if was:
                    change.go.add(element)
        return self._text(change)

    def everything(self, present: Present) -> str:
        """Input that writes all anew, and takes away what is not asked for. Who had which endpoint stays known."""
        self._sent, self._counts, self._shared = {}, Counter(), set()
        self._touched = set(self._ports)
        lines = [self._line("add table")]
        for name, hold in containers(self.family).items():
            kind, _, rest = hold.partition(" ")
            lines += [self._line(f"add {kind}", f"{name} {rest}"), self._line(f"flush {kind}", name)]
        for name, kind, hook, priority in BASES:
            lines.append(
                self._line("add chain", f"{name} {{ type {kind} hook {hook} priority {priority} ; }}")
            )
        chains = fixed(self.settings, self.family)
        stale = sorted(present.chains)
        first = [name for name in stale if name not in chains]
        # Emptied first of all: their rules name sets and chains that go.
        lines += [self._line("flush chain", name) for name in first]
        lines += self._chains(chains)
        places = networks(self.settings.node_port_places(self.family.version) or (), self.family)
        if places:
            lines.append(self._line("add element", f"nodeport-ips {{ {', '.join(places)} }}"))
        text = "\n".join([*lines, ""]) + self.changes()
        names = self.names()
        gone = [self._line("delete chain", name) for name in stale if name not in names.chains]
        gone += [self._line("delete set", name) for name in sorted(present.sets - names.sets)]
        return text + "".join(f"{line}\n" for line in gone)

    def removal(self) -> str:
        """Input that takes the table away, there or not."""
        return f"{self._line('add table')}\n{self._line('delete table')}\n"

    def _asked(self, service: Key) -> tuple[Sequence[ServicePort], frozenset[str]]:
        ports = self._ports[service]
        return ports, self._claims.taken(service, keys(ports))

    def _content(self, asked: tuple[Sequence[ServicePort], frozenset[str]]) -> Content:
        return content(*self._arguments(*asked))

    def _arguments(
        self, ports: Sequence[ServicePort], taken: frozenset[str]
    ) -> tuple[Sequence[ServicePort], Settings, Family, frozenset[str]]:
        return ports, self.settings, self.family, taken

    def _compare(self, before: Content, after: Content, change: _Change, counts: Counter[Element]) -> None:
        for element in before.elements.keys() | after.elements.keys():
            old, new = before.elements.get(element), after.elements.get(element)
            if element[0] in COUNTED:
                counts[element] += (new is not None) - (old is not None)
            elif old != new:
                if old is not None:
                    change.go.add(element)
                if new is not None:
                    change.come[element] = new
        for name, rules in after.chains.items():
            is_there = before.chains.get(name) == rules if "/" in name else name in self._shared
            if not is_there:
                change.chains[name] = rules
        self._shared |= {name for name in after.chains if "/" not in name}
        change.lost_chains |= {one for one in before.chains.keys() - after.chains.keys() if "/" in one}
        change.sets |= {name: time for name, time in after.sets.items() if name not in before.sets}
        change.lost_sets |= before.sets.keys() - after.sets.keys()

    def _text(self, change: _Change) -> str:
        remember = "{{ type {} ; flags dynamic,timeout ; timeout {}s ; }}"
        lines = [
            self._line("add set", f"{name} {remember.format(self.family.address, seconds)}")
            for name, seconds in sorted(change.sets.items())
        ]
        lines += self._elements("delete", dict.fromkeys(sorted(change.go), ""))
        lines += self._chains(change.chains)
        lines += self._elements("add", change.come)
        lost = sorted(change.lost_chains)
        lines += [self._line("flush chain", name) for name in lost]
        lines += [self._line("delete chain", name) for name in lost]
        lines += [self._line("delete set", name) for name in sorted(change.lost_sets)]
        return "".join(f"{line}\n" for line in lines)

    def _chains(self, chains: Mapping[str, Iterable[str]]) -> list[str]:
        lines = [self._line("add chain", name) for name in chains]
        lines += [self._line("flush chain", name) for name in chains]
        return lines + [
            self._line("add rule", f"{name} {rule}") for name, rules in chains.items() for rule in rules
        ]

    def _elements(self, verb: str, elements: Mapping[Element, str]) -> list[str]:
        """One line for each map and set."""
        found: dict[str, list[str]] = {}
        for (into, key), value in elements.items():
            found.setdefault(into, []).append(key + value)
        return [
            self._line(f"{verb} element", f"{into} {{ {', '.join(held)} }}") for into, held in found.items()
        ]

    def _line(self, verb: str, rest: str = "") -> str:
        return f"{verb} {self.family.name} {NAME} {rest}".rstrip()
