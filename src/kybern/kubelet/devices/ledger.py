"""Which devices are given to which containers. Pure.

A device is given to one container at a time. Those of an init container that ended may go to the containers after it in the
same pod (upstream's devicesToReuse); those of sidecars may not. Where there is a choice, a plugin may say which it would
rather give (GetPreferredAllocation): the hand then raises ``Asked``, and is tried again with the answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from kybern.api.core_v1 import Container, Pod, ResourceHealth, ResourceStatus
from kybern.kubelet.parts import is_sidecar, most_at_once
from kybern.kubelet.resources import amount, limits
from kybern.kubelet.topology.hints import Hint, Hints, Nodes, Numa, Stock, hints


class Unavailable(Exception):
    """There are not enough devices; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which ``size`` of the available devices a plugin would rather give, all of those among them that ``must`` be."""

    resource: str
    available: frozenset[str]
    must: frozenset[str]
    size: int


class Asked(Exception):
    """A plugin is to be asked first."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"the plugin of {question.resource} is to say which devices it would rather give")
        self.question = question


@dataclass(frozen=True, slots=True)
class Preferences:
    """The resources whose plugins want to be asked, and what they answered."""

    asking: frozenset[str] = frozenset()
    answers: Mapping[Question, frozenset[str]] = field(default_factory=dict)

    def of(self, question: Question) -> frozenset[str]:
        """The preferred devices; none where the plugin has no wish. Raises Asked."""
        if question.resource not in self.asking:
            return frozenset()
        if question not in self.answers:
            raise Asked(question)
        return self.answers[question] & question.available


@dataclass(frozen=True, slots=True)
class Given:
    """Devices of one container. ``answer`` is the plugin's ContainerAllocateResponse, encoded."""

    pod: str
    container: str
    resource: str
    devices: tuple[str, ...]
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one container asks for."""

    container: str
    resource: str
    count: int
    reusable: bool


def wishes(pod: Pod, resources: Iterable[str]) -> Iterator[Wish]:
    """Of all containers in their order, for resources that plugins know."""
    known = frozenset(resources)
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        init = any(container.name == one.name for one in pod.spec.init_containers)
        yield from _of(container, known, reusable=init and not is_sidecar(container))


def _of(container: Container, known: frozenset[str], *, reusable: bool) -> Iterator[Wish]:
    for name in sorted(known.intersection(limits(container))):
        count = amount(limits(container), name).value()
        if count:
            yield Wish(container.name, name, count, reusable)


type Devices = Mapping[str, Mapping[str, Nodes]]
"""The devices of each resource, with the NUMA nodes that each is near to (0: it does not say)."""


@dataclass(frozen=True, slots=True)
class Stand:
    """All devices there are, those of them that are free, and what the plugins prefer."""

    all: Devices
    free: Mapping[str, frozenset[str]]
    preferences: Preferences = Preferences()


class Hand:
    """Gives one pod its devices, container by container."""

    def __init__(self, pod: Pod, stand: Stand, numa: Numa) -> None:
        self._pod = pod
        self._all = stand.all
        self._free = {name: set(devices) for name, devices in stand.free.items()}
        self._preferences = stand.preferences
        self._numa = numa
        self._spare: dict[str, list[str]] = {}
        self._wishes = list(wishes(pod, stand.free))
        self.given: list[Given] = []

    def hints(self, container: Container | None) -> tuple[Hints, ...]:
        """From which nodes the devices of each resource could come, for a container or for the whole pod."""
        if container is not None:
            asked = {w.resource: w.count for w in self._wishes if w.container == container.name}
        else:
            asked = {w.resource: self._of_pod(w.resource) for w in self._wishes}
        return tuple(
            self._hints(name, count, () if container is None else self._spare.get(name, ()))
            for name, count in asked.items()
        )

    def take(self, container: Container, hint: Hint) -> None:
        """Raises Unavailable and Asked."""
        for wish in self._wishes:
            if wish.container == container.name:
                self._take(wish, hint.nodes)

    def _take(self, wish: Wish, nodes: Nodes | None) -> None:
        free, spare = self._free[wish.resource], self._spare.setdefault(wish.resource, [])
        again = spare[: wish.count]
        need = wish.count - len(again)
        if need > len(free):
            raise Unavailable(
                f"requested number of devices unavailable for {wish.resource}. "
                f"Requested: {need}, Available: {len(free)}"
            )
        chosen = (*again, *self._chosen(wish, frozenset(again), nodes))
        free.difference_update(chosen)
        rest = [device for device in spare if device not in chosen]
        self._spare[wish.resource] = [*rest, *chosen] if wish.reusable else rest
        self.given.append(Given(self._pod.metadata.uid, wish.container, wish.resource, chosen))

    def _chosen(self, wish: Wish, again: frozenset[str], nodes: Nodes | None) -> list[str]:
        """Near ones first, then those that are near other nodes, last those that do not say; of these the preferred ones."""
        free, need = self._free[wish.resource], wish.count - len(again)
        near = sorted(device for device in free if nodes and self._near(wish.resource, device) & nodes)
        if need <= 0:
            return []
        if need < len(near):
            return self._by_preference(wish, again, frozenset(near) | again, near)[:need]
        rest = sorted(
            free.difference(near), key=lambda device: (not self._near(wish.resource, device), device)
        )
        if need > len(near):
            rest = self._by_preference(wish, again.union(near), free | again, rest)
        return [*near, *rest][:need]

    def _by_preference(
        self, wish: Wish, must: frozenset[str], available: AbstractSet[str], devices: Iterable[str]
    ) -> list[str]:
        question = Question(wish.resource, frozenset(available), must, wish.count)
        preferred = self._preferences.of(question)
        return sorted(devices, key=lambda device: device not in preferred)

    def _near(self, resource: str, device: str) -> Nodes:
        return self._all.get(resource, {}).get(device, 0)

    def _hints(self, resource: str, count: int, again: Sequence[str]) -> Hints:
        every = tuple(self._all.get(resource, {}).values())
        if not any(every):
            return None
        free = tuple(self._near(resource, device) for device in self._free[resource])
        return hints(Stock(every, free, tuple(self._near(resource, one) for one in again)), count, self._numa)

    def _of_pod(self, resource: str) -> int:
        asked = {w.container: w.count for w in self._wishes if w.resource == resource}
        return most_at_once(self._pod, lambda container: asked.get(container.name, 0))


def health(
    given: Iterable[Given], every: Devices, well: Mapping[str, frozenset[str]]
) -> tuple[ResourceStatus, ...]:
    """What a container's devices are worth (allocatedResourcesStatus); well are also those that no plugin tells of."""
    found: dict[str, list[ResourceHealth]] = {}
    for one in given:
        known, fine = every.get(one.resource, {}), well.get(one.resource, frozenset())
        found.setdefault(one.resource, []).extend(
            ResourceHealth(
                resource_id=device, health="Healthy" if device in fine or device not in known else "Unhealthy"
            )
            for device in one.devices
        )
    return tuple(ResourceStatus(name=name, resources=tuple(each)) for name, each in sorted(found.items()))


def free(well: Mapping[str, frozenset[str]], given: Iterable[Given]) -> Mapping[str, frozenset[str]]:
    """The healthy devices that nobody has, by resource."""
    taken: dict[str, set[str]] = {}
    for one in given:
        taken.setdefault(one.resource, set()).update(one.devices)
    return {name: devices - taken.get(name, set()) for name, devices in well.items()}
