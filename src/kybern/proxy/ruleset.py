"""All rules of the node, kept service by service. Pure.

A change of one service makes the rules of that service anew and of no other: what differs from before is remembered as
touched chains, until somebody takes them and writes them. Chains that many services add to (``FIXED``) are put together only
when they are asked for.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import batched
from typing import NamedTuple

from kybern.proxy.model import ServicePort
from kybern.proxy.rules import FIXED, Chains, Settings, Tables, fixed, fragment

# Services until the rules of those that come leave their names out: each takes the kernel a microsecond with each change,
# and addresses tell them apart. Upstream leaves names out from as many endpoints on (largeClusterEndpointsThreshold).
NAMED = 1_000

type Key = tuple[str, str]
"""Namespace and name of a service."""

type Chain = tuple[str, str]
"""Table and name of a chain."""


class Edit(NamedTuple):
    """What became other in a chain that services add to: the rules of some of them before, and now."""

    gone: list[str]
    come: list[str]


class Ruleset:
    """Rules of one version of IP, by service.

    ``put`` changes one service; ``take`` gives the chains touched since it was last called; ``counts`` are the rules of each
    table.
    """

    def __init__(self, settings: Settings, version: int = 4) -> None:
        self._settings = settings
        self._first = fixed(settings, version).by_name()
        self._own: dict[Chain, list[str]] = {}
        self._shared: dict[Chain, dict[Key, list[str]]] = {
            (table, chain): {} for table, chains in FIXED.items() for chain in chains
        }
        self._services: dict[Key, Tables] = {}
        self._touched: set[Chain] = set()
        self._before: dict[Chain, dict[Key, list[str]]] = {}
        self._added = Counter[Chain]()
        self._reached: set[Key] = set()
        """Services with addresses that others may ask for as well; of those the first has it."""
        self._ordered: set[Chain] = set()
        self.counts = Counter({table: sum(map(len, held.values())) for table, held in self._first.items()})

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        """Make the rules of a service as its ports ask; without ports it has none."""
        old = self._services.pop(service, _NOTHING).by_name()
        new = fragment(ports, self._settings, named=len(self._services) < NAMED)
        if ports:
            self._services[service] = new
        ordered = service in self._reached
        self._reached.discard(service)
        if any(port.external_ips or port.balancer_ips for port in ports):
            self._reached.add(service)
            ordered = True
        for table, chains in new.by_name().items():
            for chain in old[table].keys() | chains.keys():
                if old[table].get(chain) != chains.get(chain):
                    self._set(service, (table, chain), old[table].get(chain), chains.get(chain))
                    if ordered:
                        self._ordered.add((table, chain))

    def _set(self, service: Key, chain: Chain, before: list[str] | None, rules: list[str] | None) -> None:
        self._touched.add(chain)
        self.counts[chain[0]] += len(rules or ()) - len(before or ())
        if (shared := self._shared.get(chain)) is not None:
            self._before.setdefault(chain, {}).setdefault(service, before or [])
            self._added[chain] += len(rules or ()) - len(before or ())
            if rules is None:
                del shared[service]
            else:
                shared[service] = rules
        elif rules is None:
            del self._own[chain]
        else:
            self._own[chain] = rules

    def take(self) -> dict[Chain, Edit | None]:
        """The touched chains; with what became other in those where rules may stand in any order.

        A chain that services add to is left out where all became as it was.
        """
        edits = {chain: self._edit(chain) for chain in self._before}
        same = {chain for chain, edit in edits.items() if edit == _UNCHANGED}
        touched, ordered = self._touched - same, self._ordered
        self._touched, self._before, self._ordered = set(), {}, set()
        return {chain: None if chain in ordered else edits.get(chain) for chain in sorted(touched)}

    def _edit(self, chain: Chain) -> Edit:
        now = self._shared[chain]
        changed = [(old, now.get(service, [])) for service, old in self._before[chain].items()]
        changed = [(old, new) for old, new in changed if old != new]
        return Edit(
            [rule for old, _ in changed for rule in old], [rule for _, new in changed for rule in new]
        )

    @property
    def shared(self) -> Collection[Chain]:
        """The chains that services add to."""
        return self._shared.keys()

    def batches(self, size: int) -> Iterator[list[Chain]]:
        """The chains that services have for themselves, those of ``size`` services at a time.

        They come in the order in which the shared chains lead to them. The kernel goes through them in that order with each
        change, and takes a quarter less time where they lie so in its memory.
        """
        found = []
        for service, tables in self._services.items():
            chains = [(table, chain) for table, held in tables.by_name().items() for chain in held]
            leading = [chain for chain in chains if chain in self._shared]
            found.append((leading, service, [chain for chain in chains if chain not in self._shared]))
        for some in batched(sorted(found), size):
            yield [chain for _, _, chains in some for chain in chains]

    def chains(self) -> Iterator[Chain]:
        """Every chain that has to be there."""
        yield from self._shared
        yield from self._own

    def names(self) -> dict[str, set[str]]:
        """The same by table, to compare with what the kernel has."""
        found: dict[str, set[str]] = {table: set() for table in FIXED}
        for table, chain in self.chains():
            found[table].add(chain)
        return found

    def rules(self, chain: Chain) -> list[str] | None:
        """The rules of a chain; None when there has to be no such chain."""
        if (shared := self._shared.get(chain)) is None:
            return self._own.get(chain)
        table, name = chain
        return [*self._first[table][name], *(rule for _, rules in sorted(shared.items()) for rule in rules)]

    def signs(self) -> Iterator[tuple[str, str, str]]:
        """Table, chain and rule: one of each chain that services add to, by which it can be told that it was not emptied."""
        for (table, chain), services in self._shared.items():
            held = self._first[table][chain] or next(iter(services.values()), [])
            yield from ((table, chain, rule) for rule in held[:1])

    def begin(self, chain: Chain) -> int:
        """How many rules stand in a chain before those of services."""
        return len(self._first[chain[0]][chain[1]])

    def added(self, chain: Chain) -> int:
        """How many rules of services stand in a chain that they add to."""
        return self._added[chain]

    def tables(self) -> Mapping[str, Chains]:
        """All of it, by table and chain."""
        found: dict[str, Chains] = {table: {} for table in FIXED}
        for table, chain in self.chains():
            found[table][chain] = self.rules((table, chain)) or []
        return found


_NOTHING = Tables()
_UNCHANGED = Edit([], [])
