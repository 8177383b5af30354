"""Which containers get which CPUs for themselves. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.parts import is_sidecar
from kybern.kubelet.resources import amount, qos, requests

type Place = tuple[int, int]
"""Socket and core of a CPU."""


class Unavailable(Exception):
    """There are not enough CPUs; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Given:
    """CPUs of one container."""

    pod: str
    container: str
    cpus: tuple[int, ...]


def parse(text: str) -> frozenset[int]:
    """The kernel's notation of a set of CPUs: 0-3,5. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        found.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(found)


def spelled(cpus: Iterable[int]) -> str:
    """The same notation, as short as it can be."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def reserve(places: Mapping[int, Place], count: int) -> frozenset[int]:
    """As many as are kept for the node's own daemons: whole cores, the lowest first."""
    return frozenset(_take(frozenset(places), count, places))


def wish(pod: Pod, container: Container) -> int:
    """How many CPUs a container gets for itself: those of a guaranteed pod, if it asks for whole ones."""
    milli = amount(requests(container), "cpu").milli()
    return milli // 1000 if qos(pod) == "Guaranteed" and milli and milli % 1000 == 0 else 0


def give(pod: Pod, free: frozenset[int], places: Mapping[int, Place]) -> tuple[Given, ...]:
    """CPUs for a pod that has none yet. Those of an ended init container go on to the next. Raises Unavailable."""
    return tuple(_give(pod, free, places))


def _give(pod: Pod, free: frozenset[int], places: Mapping[int, Place]) -> Iterator[Given]:
    spare: frozenset[int] = frozenset()
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        count = wish(pod, container)
        if not count:
            continue
        if count > len(spare) + len(free):
            available = len(spare) + len(free)
            raise Unavailable(
                f"not enough cpus available to satisfy request: requested={count}, available={available}"
            )
        again = _take(spare, min(count, len(spare)), places)
        fresh = _take(free, count - len(again), places)
        free -= frozenset(fresh)
        init = any(container.name == one.name for one in pod.spec.init_containers)
        handed_on = init and not is_sidecar(container)
        spare = spare | frozenset(fresh) if handed_on else spare - frozenset(again)
        yield Given(pod.metadata.uid, container.name, tuple(sorted((*again, *fresh))))


def _take(free: frozenset[int], count: int, places: Mapping[int, Place]) -> tuple[int, ...]:
    """Whole cores first, so that neighbours of a core do not disturb each other; then what is left of broken ones."""
    whole: dict[Place, list[int]] = {}
    for cpu, place in places.items():
        whole.setdefault(place, []).append(cpu)
    found: list[int] = []
    for _place, cpus in sorted(whole.items()):
        if len(cpus) <= count - len(found) and free.issuperset(cpus):
            found += sorted(cpus)
    # A core that is broken already comes before one that is whole.
    rest = sorted(free.difference(found), key=lambda cpu: (free.issuperset(whole[places[cpu]]), cpu))
    return (*found, *rest[: count - len(found)])
