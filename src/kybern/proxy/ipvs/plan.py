"""Virtual servers and sets of one version of IP, kept service by service, and what has to change in the kernel. Pure.

Of each service only its ports are kept: what it adds is made from them again when they change, and compared. Real servers
that were taken out of service are remembered until they have gone (``ending``).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from kybern.proxy.claims import Claims
from kybern.proxy.ipvs import sets
from kybern.proxy.ipvs.content import COUNTED, Content, Here, Writer, here, servers
from kybern.proxy.ipvs.servers import (
    ENDING,
    Change,
    Command,
    Found,
    Held,
    Real,
    Server,
    Wanted,
    diff,
    drained,
)
from kybern.proxy.ipvs.sets import Entry
from kybern.proxy.model import ServicePort
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Key


@dataclass(frozen=True, slots=True)
class Options:
    """``ipvs`` of the configuration file. Times in seconds, 0 to leave the kernel's; ``excluded`` are networks."""

    scheduler: str = "rr"
    strict_arp: bool = False
    excluded: tuple[str, ...] = ()
    tcp_timeout: float = 0.0
    tcp_fin_timeout: float = 0.0
    udp_timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What the kernel has: servers, members of our sets, and the addresses on the device of services."""

    servers: Mapping[Server, Found] = field(default_factory=dict)
    entries: frozenset[Entry] = frozenset()
    bound: frozenset[str] = frozenset()


@dataclass(slots=True)
class Changes:
    """What differs: of servers, of sets, and of the addresses on the device."""

    servers: list[Change] = field(default_factory=list)
    come: set[Entry] = field(default_factory=set)
    go: set[Entry] = field(default_factory=set)
    bind: set[str] = field(default_factory=set)
    unbind: set[str] = field(default_factory=set)

    @property
    def lost(self) -> list[Change]:
        """Servers that go: last of all, when nothing comes to them any more."""
        return [one for one in self.servers if one.command is Command.DEL_SERVICE]

    @property
    def kept(self) -> list[Change]:
        return [one for one in self.servers if one.command is not Command.DEL_SERVICE]

    def __len__(self) -> int:
        return sum(map(len, (self.servers, self.come, self.go, self.bind, self.unbind)))


class Plan:
    """``put`` changes one service; ``changes`` and ``everything`` give what is sent, and take it as done."""

    def __init__(self, version: int, settings: Settings, options: Options) -> None:
        self.version, self.settings, self.options = version, settings, options
        self.ending: dict[Server, set[Real]] = {}
        self._excluded = [ip_network(one, strict=False) for one in options.excluded]
        self._writer = Writer(settings, options.scheduler, Here())
        self._ports: dict[Key, Sequence[ServicePort]] = {}
        self._claims = Claims[Server]()
        self._touched: set[Key] = set()
        self._sent: dict[Key, tuple[Sequence[ServicePort], frozenset[Server]]] = {}
        self._counts: Counter[Entry] = Counter()

    def place(self, addresses: Sequence[str]) -> bool:
        """The node's own addresses. Says whether they are others than before; then only ``everything`` may follow."""
        found = here(addresses, self.settings, self.version)
        if found == self._writer.place:
            return False
        self._writer = Writer(self.settings, self.options.scheduler, found)
        self._claims = Claims[Server]()
        for service, ports in self._ports.items():
            self._claims.move(service, set(), set(servers(ports, found)))
        return True

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        """Make what a service has as its ports ask; without ports it has nothing."""
        place = self._writer.place
        before = set(servers(self._ports.get(service, ()), place))
        self._touched |= {service, *self._claims.move(service, before, set(servers(ports, place)))}
        if ports:
            self._ports[service] = ports
        else:
            self._ports.pop(service, None)

    def changes(self) -> Changes:
        """From what was sent to what is asked for now."""
        before, after = self._take()
        found = {server: self._found(server, wanted) for server, wanted in before.servers.items()}
        change = Changes(self._servers(found, after.servers))
        change.come, change.go = after.entries - before.entries, before.entries - after.entries
        change.bind = {member for name, member in change.come if name == sets.IPS}
        change.unbind = {member for name, member in change.go if name == sets.IPS}
        return change

    def everything(self, observed: Observed) -> Changes:
        """From what the kernel has to what is asked for."""
        self._sent, self._counts, self.ending = {}, Counter(), {}
        self._touched = set(self._ports)
        _, asked = self._take()
        found = {server: one for server, one in observed.servers.items() if self.is_ours(server)}
        change = Changes(self._servers(found, asked.servers))
        change.come, change.go = asked.entries - observed.entries, set(observed.entries - asked.entries)
        change.bind, change.unbind = set(self.bound - observed.bound), set(observed.bound - self.bound)
        return change

    def _take(self) -> tuple[Content, Content]:
        """What the services that changed had together, and what they shall have; without members that others have, too."""
        before, after, counts = Content(), Content(), Counter[Entry]()
        for service in self._touched:
            _add(before, self._made(self._sent.pop(service, None)), counts, -1)
            if service in self._ports:
                self._sent[service] = self._asked(service)
                _add(after, self._made(self._sent[service]), counts, 1)
        self._touched.clear()
        for entry, count in counts.items():
            was, now = self._counts[entry], self._counts[entry] + count
            self._counts[entry] = now
            if not now:
                del self._counts[entry]
            if bool(was) != bool(now):
                (after if now else before).entries.add(entry)
        return before, after

    def drain(self, observed: Mapping[Server, Found]) -> list[Change]:
        """What goes for good of what was taken out of service; ``observed`` has the servers of ``ending``."""
        found: list[Change] = []
        for server in list(self.ending):
            there = observed.get(server)
            left = self.ending.pop(server) & there.reals.keys() if there else set()
            if there and left:
                self.ending[server] = left
                gone = list(drained(server, there, left))
                self._note(gone)
                found += gone
        return found

    @property
    def bound(self) -> frozenset[str]:
        """Addresses that have to be on the device."""
        return frozenset(member for name, member in self._counts if name == sets.IPS)

    @property
    def servers(self) -> set[Server]:
        """Those that have to be there."""
        place = self._writer.place
        return {server for ports, _ in self._sent.values() for server in servers(ports, place)}

    def is_ours(self, server: Server) -> bool:
        """Not so where the operator has named the networks of somebody else's servers."""
        return not self._excluded or not any(ip_address(server.ip) in one for one in self._excluded)

    def _asked(self, service: Key) -> tuple[Sequence[ServicePort], frozenset[Server]]:
        ports = self._ports[service]
        return ports, self._claims.taken(service, servers(ports, self._writer.place))

    def _made(self, asked: tuple[Sequence[ServicePort], frozenset[Server]] | None) -> Content:
        return self._writer.content(*asked) if asked else Content()

    def _found(self, server: Server, sent: Wanted) -> Found:
        """A server as the kernel has it since it was sent, with what ends there."""
        made = Found.made(sent.terms, sent.reals)
        if ending := self.ending.get(server):
            made = replace(made, reals={**made.reals, **dict.fromkeys(ending, Held(ENDING))})
        return made

    def _servers(self, found: Mapping[Server, Found], wanted: Mapping[Server, Wanted]) -> list[Change]:
        changes: list[Change] = []
        for server in sorted(found.keys() | wanted.keys()):
            asked = wanted.get(server)
            changes += diff(server, found.get(server), asked)
            if asked and server in found:
                held = found[server].reals
                left = {one for one in held.keys() - set(asked.reals) if held[one].weight == ENDING}
                if left:
                    self.ending.setdefault(server, set()).update(left)
        self._note(changes)
        return changes

    def _note(self, changes: Iterable[Change]) -> None:
        """Remember what ends, and forget what ends no longer."""
        for one in changes:
            if one.command is Command.SET_DEST and one.weight == ENDING and one.real:
                self.ending.setdefault(one.server, set()).add(one.real)
            elif one.command is Command.DEL_SERVICE:
                self.ending.pop(one.server, None)
            elif one.real and (left := self.ending.get(one.server)):
                left.discard(one.real)
                if not left:
                    del self.ending[one.server]


def _add(into: Content, content: Content, counts: Counter[Entry], sign: int) -> None:
    into.servers |= content.servers
    for entry in content.entries:
        if entry[0] in COUNTED:
            counts[entry] += sign
        else:
            into.entries.add(entry)
