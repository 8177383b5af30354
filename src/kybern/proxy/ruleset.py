"""All rules of the node, kept service by service. Pure.

A change of one service makes the rules of that service anew and of no other: what differs from before is remembered as
touched chains, until somebody takes them and writes them. Chains that many services add to (``FIXED``) are put together only
when they are asked for.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import batched

from kybern.proxy.model import ServicePort
from kybern.proxy.rules import FIXED, Chains, Settings, Tables, fixed, fragment, last

type Key = tuple[str, str]
"""Namespace and name of a service."""

type Chain = tuple[str, str]
"""Table and name of a chain."""


class Ruleset:
    """Rules of one version of IP, by service.

    ``put`` changes one service; ``take`` gives the chains touched since it was last called; ``counts`` are the rules of each
    table.
    """

    def __init__(self, settings: Settings, version: int = 4) -> None:
        self._settings, self._version = settings, version
        self._first = fixed(settings, version).by_name()
        self._own: dict[Chain, list[str]] = {}
        self._shared: dict[Chain, dict[Key, list[str]]] = {
            (table, chain): {} for table, chains in FIXED.items() for chain in chains
        }
        self._services: dict[Key, Tables] = {}
        self._touched: set[Chain] = set()
        self.counts = Counter({table: sum(map(len, held.values())) for table, held in self._first.items()})
        self.counts["nat"] += len(last(settings, version))

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        """Make the rules of a service as its ports ask; without ports it has none."""
        old = self._services.pop(service, _NOTHING).by_name()
        new = fragment(ports, self._settings)
        if ports:
            self._services[service] = new
        for table, chains in new.by_name().items():
            for chain in old[table].keys() | chains.keys():
                if old[table].get(chain) != chains.get(chain):
                    self._set(service, (table, chain), old[table].get(chain), chains.get(chain))

    def _set(self, service: Key, chain: Chain, before: list[str] | None, rules: list[str] | None) -> None:
        self._touched.add(chain)
        self.counts[chain[0]] += len(rules or ()) - len(before or ())
        if (shared := self._shared.get(chain)) is not None:
            if rules is None:
                del shared[service]
            else:
                shared[service] = rules
        elif rules is None:
            del self._own[chain]
        else:
            self._own[chain] = rules

    def take(self) -> set[Chain]:
        touched, self._touched = self._touched, set()
        return touched

    @property
    def shared(self) -> Collection[Chain]:
        """The chains that services add to."""
        return self._shared.keys()

    def batches(self, size: int) -> Iterator[list[Chain]]:
        """The chains that services have for themselves, those of ``size`` services at a time."""
        each = (
            [(table, chain) for table, chains in found.by_name().items() for chain in chains]
            for found in self._services.values()
        )
        own = ([chain for chain in chains if chain not in self._shared] for chains in each)
        for some in batched(own, size):
            yield [chain for chains in some for chain in chains]

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
        found = [*self._first[table][name], *(rule for _, rules in sorted(shared.items()) for rule in rules)]
        return found + last(self._settings, self._version) if chain == ("nat", "KUBE-SERVICES") else found

    def tables(self) -> Mapping[str, Chains]:
        """All of it, by table and chain."""
        found: dict[str, Chains] = {table: {} for table in FIXED}
        for table, chain in self.chains():
            found[table][chain] = self.rules((table, chain)) or []
        return found


_NOTHING = Tables()
