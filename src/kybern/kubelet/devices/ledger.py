"""Which devices are given to which containers. Pure.

A device is given to one container at a time. Those of an init container that ended may go to the containers after it in the
same pod (upstream's devicesToReuse); those of sidecars may not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.parts import is_sidecar
from kybern.kubelet.resources import amount, limits


class Unavailable(Exception):
    """There are not enough devices; the message is upstream's."""


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


def give(pod: Pod, well: Mapping[str, frozenset[str]], given: Iterable[Given]) -> tuple[Given, ...]:
    """Devices for a pod that has none yet. ``well``: all healthy devices by resource. Raises Unavailable."""
    uid = pod.metadata.uid
    taken: dict[str, set[str]] = {}
    for one in given:
        taken.setdefault(one.resource, set()).update(one.devices)
    spare: dict[str, list[str]] = {}
    found = []
    for wish in wishes(pod, well):
        busy = taken.setdefault(wish.resource, set())
        again = spare.get(wish.resource, [])[: wish.count]
        free = sorted(well[wish.resource] - busy)
        need = wish.count - len(again)
        if need > len(free):
            raise Unavailable(
                f"requested number of devices unavailable for {wish.resource}. "
                f"Requested: {need}, Available: {len(free)}"
            )
        chosen = (*again, *free[:need])
        busy.update(chosen)
        rest = [device for device in spare.get(wish.resource, []) if device not in chosen]
        spare[wish.resource] = [*rest, *chosen] if wish.reusable else rest
        found.append(Given(uid, wish.container, wish.resource, chosen))
    return tuple(found)
