"""What this node's table shall hold, kept right change by change. Pure.

``put_...`` tell what the API says now; ``settle`` works out the chains of the local pods that this may
concern. Sets of peers are kept by ``Sets`` and change with each pod; chains change only with policies, with the pods that
they are for, and with the ports that policies name. Nothing looks at all pods but a set that is new.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.policies import render
from kybern.policies.peers import Sets
from kybern.policies.records import DIRECTIONS, Key, Network, Pod, Policy
from kybern.policies.rules import Peers, Rule, rules
from kybern.policies.table import Table


@dataclass(frozen=True, slots=True)
class Chain:
    """What pods with the same rules share."""

    name: str
    direction: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was worked out for a local pod: its chain by direction, None where it is not isolated."""

    pod: Pod
    chains: tuple[Chain | None, ...]


def judge(pod: Pod, policies: Iterable[Policy]) -> Verdict:
    """``policies`` are those of the pod's namespace."""
    policies = tuple(policies)
    found = ((direction, rules(pod, direction, policies)) for direction in DIRECTIONS)
    return Verdict(
        pod,
        tuple(
            None if one is None else Chain(render.chain_name(direction, one), direction, one)
            for direction, one in found
        ),
    )


class Model:
    """``node`` is this one, ``networks`` those its pods' addresses are from; without any, all versions of IP are judged."""

    def __init__(self, node: str, networks: tuple[Network, ...] = ()) -> None:
        self.node, self.networks = node, networks
        versions = {network.version for network in networks}
        self.families = tuple(one for one in render.FAMILIES if not versions or one.version in versions)
        self.table = Table()
        self.pods: dict[str, dict[Key, Pod]] = {}
        self.policies: dict[str, dict[Key, Policy]] = {}
        self._sets = Sets(self._peer_moved)
        self._local: dict[Key, Pod] = {}
        self._stale: set[Key] = set()
        self._verdicts: dict[Key, Verdict] = {}
        self._chains: Counter[str] = Counter()
        self._owners: dict[str, dict[Key, Pod]] = {}
        for family in self.families:
            for name, declared in render.maps(family).items():
                self.table.put_set(name, declared)
        for direction in DIRECTIONS:
            self.table.put_chain(render.starting(direction), ())
        self.table.put_chain(render.FORWARD, render.forward(self.families), render.HOOK)
        self.table.put_chain(render.OUTPUT, render.output(self.families), render.OUTPUT_HOOK)

    @property
    def is_needed(self) -> bool:
        """Whether any pod of this node is isolated; without, nothing of ours has to be in the packets' way."""
        return bool(self._chains)

    def isolated(self, direction: str) -> int:
        """How many pods of this node have rules for a direction."""
        at = DIRECTIONS.index(direction)
        return sum(one.chains[at] is not None for one in self._verdicts.values())

    def put_pod(self, key: Key, pod: Pod | None) -> None:
        """A pod as it is now; None for one that is gone, or that has no address of its own."""
        old = self.pods.get(key[0], {}).get(key)
        if pod == old:
            return
        mine = self.pods.setdefault(key[0], {})
        mine.pop(key, None)
        if pod is not None:
            mine[key] = pod
        elif not mine:
            del self.pods[key[0]]
        self._sets.move(old, pod)
        if pod is not None and pod.node == self.node:
            self._local[key] = pod
            self._stale.add(key)
        elif self._local.pop(key, None) is not None:
            self._stale.add(key)

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        self._sets.label(name, labels, self.pods.get(name, {}).values())

    def put_policy(self, key: Key, policy: Policy | None) -> None:
        mine = self.policies.setdefault(key[0], {})
        old = mine.pop(key, None)
        if policy is not None:
            mine[key] = policy
        elif not mine:
            del self.policies[key[0]]
        if policy != old:
            self._stale |= {
                pod.key
                for pod in self._local.values()
                if pod.namespace == key[0]
                and any(one.pods.matches(pod.labels) for one in (old, policy) if one is not None)
            }

    def settle(self) -> None:
        """Bring the table to what was told."""
        touched: set[str] = set()
        for key in sorted(self._stale):
            touched |= self._judge(key)
        self._stale.clear()
        for address in touched:
            self._place(address)
        for at, direction in enumerate(DIRECTIONS):
            waiting = any(one.chains[at] and not one.pod.addresses for one in self._verdicts.values())
            found = render.unknown(direction, self.networks) if waiting else ()
            self.table.put_chain(render.starting(direction), found)

    def _judge(self, key: Key) -> set[str]:
        """Work out one local pod again; gives the addresses that may lead elsewhere now."""
        old, pod, new = self._verdicts.pop(key, None), self._local.get(key), None
        if pod is not None:
            new = judge(pod, (one for _, one in sorted(self.policies.get(key[0], {}).items())))
            self._verdicts[key] = new
        # The new first: a set that both name is not made again.
        for chain in new.chains if new else ():
            if chain:
                self._acquire(chain)
        for chain in old.chains if old else ():
            if chain:
                self._release(chain)
        return self._claim(key, old.pod if old else None, pod)

    def _claim(self, key: Key, old: Pod | None, new: Pod | None) -> set[str]:
        before, now = set(old.addresses if old else ()), set(new.addresses if new else ())
        for address in before - now:
            del self._owners[address][key]
            if not self._owners[address]:
                del self._owners[address]
        for address in now:
            assert new is not None, "its addresses are"
            self._owners.setdefault(address, {})[key] = new
        return before | now

    def _place(self, address: str) -> None:
        """Let the maps lead from an address to the chains of its pod: the youngest, should several have it."""
        family = render.family_of(address)
        if family not in self.families:
            return
        owners = self._owners.get(address)
        pod = max(owners.values(), key=lambda one: (one.created, one.key)) if owners else None
        chains = self._verdicts[pod.key].chains if pod else ()
        self._keep(f"local-{family.name}", address, None if pod is None else "")
        for direction, chain in itertools.zip_longest(DIRECTIONS, chains):
            title = f"{pod.namespace}/{pod.name}"[: render.LONGEST] if pod else ""
            value = f' comment "{title}" : jump {chain.name}' if chain else None
            self._keep(f"{direction}-{family.name}", address, value)
        self._keep(f"self-{family.name}", f"{address} . {address}", "" if any(chains) else None)

    def _keep(self, name: str, element: str, value: str | None) -> None:
        if value is not None:
            self.table.put(name, element, value)
        elif element in self.table.elements[name]:
            self.table.drop(name, element)

    def _acquire(self, chain: Chain) -> None:
        self._chains[chain.name] += 1
        if self._chains[chain.name] > 1:
            return
        for peers in _peers(chain):
            for family in self.families:
                self.table.put_set(render.set_name(peers, family), render.declaration(peers, family))
            self._sets.acquire(peers, self.pods)
        self.table.put_chain(chain.name, render.chain(chain.direction, chain.rules, self.families))

    def _release(self, chain: Chain) -> None:
        self._chains[chain.name] -= 1
        if self._chains[chain.name]:
            return
        del self._chains[chain.name]
        self.table.drop_chain(chain.name)
        for peers in _peers(chain):
            if self._sets.release(peers):
                for family in self.families:
                    self.table.drop_set(render.set_name(peers, family))

    def _peer_moved(self, peers: Peers, element: str, has_come: bool) -> None:
        family = render.family_of(element)
        if family in self.families:
            self._keep(render.set_name(peers, family), element, "" if has_come else None)


def _peers(chain: Chain) -> Iterator[Peers]:
    """The sets that a chain names."""
    return (rule.peers for rule in chain.rules if rule.peers is not None)
