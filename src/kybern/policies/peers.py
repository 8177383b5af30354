"""Which pods a set of peers holds, kept right pod by pod. Pure.

Only sets that some rule names are kept. A pod is looked at by the sets of its own namespace and by those that select
namespaces, so a change of one pod asks each set once and touches only those that hold it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.policies.records import Key, Pod
from kybern.policies.rules import Peers

type Members = Mapping[str, Mapping[Key, Pod]]  # pods by namespace
type Tell = Callable[[Peers, str, bool], None]  # a set, an element of it, and whether it has come or gone


def elements(peers: Peers, pod: Pod) -> Iterator[str]:
    """What the set holds because of a pod: an address, or an address and the number of the named port."""
    if not peers.port:
        yield from pod.addresses
        return
    for port in pod.ports:
        if (port.name, port.protocol) == (peers.port, peers.protocol):
            for address in pod.addresses:
                yield f"{address} . {port.number}"


@dataclass(slots=True)
class Sets:
    """``tell`` hears of every change. ``namespaces`` are labels by name; a namespace that is not there yet has none."""

    tell: Tell
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _held: dict[Peers, Counter[str]] = field(default_factory=dict)
    _within: dict[str, set[Peers]] = field(default_factory=dict)
    _users: Counter[Peers] = field(default_factory=Counter)

    def acquire(self, peers: Peers, pods: Members) -> bool:
        """One more rule names the set; True when it is the first, and the set was filled."""
        self._users[peers] += 1
        if self._users[peers] > 1:
            return False
        self._held[peers] = Counter()
        namespace = peers.selected.namespace
        self._within.setdefault(namespace, set()).add(peers)
        for name in (namespace,) if namespace else pods:
            if self._reaches(peers, self.namespaces.get(name)):
                for pod in pods.get(name, {}).values():
                    self._add(peers, pod, 1)
        return True

    def release(self, peers: Peers) -> bool:
        """One rule less; True when it was the last, and the set is gone."""
        self._users[peers] -= 1
        if self._users[peers]:
            return False
        del self._users[peers], self._held[peers]
        mine = self._within[peers.selected.namespace]
        mine.discard(peers)
        if not mine:
            del self._within[peers.selected.namespace]
        return True

    def move(self, old: Pod | None, new: Pod | None) -> None:
        """A pod came, changed or went. Both are of one namespace."""
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        for pod, by in ((new, 1), (old, -1)):
            if pod is not None:
                for peers in self._concerned(pod.namespace):
                    self._add(peers, pod, by)

    def label(self, namespace: str, labels: Mapping[str, str] | None, pods: Iterable[Pod]) -> None:
        """A namespace has other labels, or None when it is gone; ``pods`` are those in it."""
        old = self.namespaces.get(namespace)
        if labels is None:
            self.namespaces.pop(namespace, None)
        else:
            self.namespaces[namespace] = labels
        if old == labels:
            return
        pods = tuple(pods)
        for peers in tuple(self._within.get("", ())):
            by = self._reaches(peers, labels) - self._reaches(peers, old)
            for pod in pods if by else ():
                self._add(peers, pod, by)

    def _concerned(self, namespace: str) -> Iterator[Peers]:
        yield from self._within.get(namespace, ())
        labels = self.namespaces.get(namespace)
        yield from (one for one in self._within.get("", ()) if self._reaches(one, labels))

    @staticmethod
    def _reaches(peers: Peers, labels: Mapping[str, str] | None) -> bool:
        """Whether pods of a namespace with these labels may be among the peers."""
        selected = peers.selected
        return bool(selected.namespace) or (labels is not None and selected.namespaces.matches(labels))

    def _add(self, peers: Peers, pod: Pod, by: int) -> None:
        if not peers.selected.pods.matches(pod.labels):
            return
        held = self._held[peers]
        for element in elements(peers, pod):
            before = held[element]
            held[element] += by
            if not held[element]:
                del held[element]
            if bool(before) != bool(before + by):
                self.tell(peers, element, by > 0)


def _facts(pod: Pod) -> tuple[object, ...]:
    return pod.labels, pod.addresses, pod.ports
