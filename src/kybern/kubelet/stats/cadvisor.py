"""/metrics/cadvisor: what dashboards of containers are made from. Pure.

The names and labels are cAdvisor's, for what is measured here: machine, the root, pods and their containers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from kybern.kubelet.stats.exposition import Family, Sample
from kybern.kubelet.stats.use import Cpu, Disk, Interface, Memory, NodeUse, PodUse, Stall, Stalls

_NANO = 1e9
_MICRO = 1e6


class _Thing(NamedTuple):
    """One cgroup: labels, and what is known of it."""

    labels: dict[str, str]
    cpu: Cpu | None
    memory: Memory | None
    started: float
    rootfs: Disk | None = None
    processes: int | None = None
    stalls: Mapping[str, Stalls] = MappingProxyType({})


def families(found: NodeUse, cpus: int) -> Iterator[Family]:
    things = [_root(found), *_things(found)]
    yield Family("machine_cpu_cores", "gauge", "Number of logical CPU cores.", [Sample({}, cpus)])
    yield Family(
        "machine_memory_bytes",
        "gauge",
        "Amount of memory installed on the machine.",
        [Sample({}, found.memory_capacity)],
    )
    for name, kind, about, value in _OF_THINGS:
        samples = ((thing, value(thing)) for thing in things)
        yield Family(name, kind, about, (_sample(thing, got) for thing, got in samples if got is not None))
    for name, about, resource, of in _OF_STALLS:
        pairs = ((thing, thing.stalls.get(resource)) for thing in things)
        waited = (_sample(thing, of(both).total / _MICRO) for thing, both in pairs if both is not None)
        yield Family(name, "counter", about, waited)
    yield from _network(found)
    yield Family(
        "container_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        [Sample({}, 0)],
    )


def _sample(thing: _Thing, value: float) -> Sample:
    when = thing.memory or thing.cpu or None
    return Sample(thing.labels, value, when.time if when is not None else 0.0)


def _cpu(thing: _Thing) -> float | None:
    return thing.cpu.total / _NANO if thing.cpu is not None else None


def _of_memory(pick: Callable[[Memory], float]) -> Callable[[_Thing], float | None]:
    return lambda thing: pick(thing.memory) if thing.memory is not None else None


_OF_THINGS: tuple[tuple[str, str, str, Callable[[_Thing], float | None]], ...] = (
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", _cpu),
    ("container_memory_usage_bytes", "gauge",
     "Current memory usage in bytes, including all memory regardless of when it was accessed",
     _of_memory(lambda memory: memory.usage)),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.",
     _of_memory(lambda memory: memory.working_set)),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", _of_memory(lambda memory: memory.rss)),
    ("container_fs_usage_bytes", "gauge", "Number of bytes that are consumed by the container on this filesystem.",
     lambda thing: thing.rootfs.used if thing.rootfs is not None else None),
    ("container_processes", "gauge", "Number of processes running inside the container.",
     lambda thing: thing.processes),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.",
     lambda thing: thing.started or None),
    ("container_last_seen", "gauge", "Last time a container was seen by the exporter",
     lambda thing: thing.cpu.time if thing.cpu is not None else None),
)  # fmt: skip


def _some(found: Stalls) -> Stall:
    return found.some


def _full(found: Stalls) -> Stall:
    return found.full


_OF_STALLS: tuple[tuple[str, str, str, Callable[[Stalls], Stall]], ...] = (
    ("container_pressure_cpu_stalled_seconds_total",
     "Total time duration no tasks in the container could make progress due to CPU congestion.", "cpu", _full),
    ("container_pressure_cpu_waiting_seconds_total",
     "Total time duration tasks in the container have waited due to CPU congestion.", "cpu", _some),
    ("container_pressure_memory_stalled_seconds_total",
     "Total time duration no tasks in the container could make progress due to memory congestion.", "memory", _full),
    ("container_pressure_memory_waiting_seconds_total",
     "Total time duration tasks in the container have waited due to memory congestion.", "memory", _some),
    ("container_pressure_io_stalled_seconds_total",
     "Total time duration no tasks in the container could make progress due to IO congestion.", "io", _full),
    ("container_pressure_io_waiting_seconds_total",
     "Total time duration tasks in the container have waited due to IO congestion.", "io", _some),
)  # fmt: skip


def _root(found: NodeUse) -> _Thing:
    labels = _labels("/", "", "", "")
    return _Thing(
        labels, found.cpu, found.memory, found.booted, processes=found.processes, stalls=found.stalls
    )


def _things(found: NodeUse) -> Iterator[_Thing]:
    for pod in found.pods:
        yield _Thing(
            _of_pod(pod), pod.cpu, pod.memory, pod.started, processes=pod.processes, stalls=pod.stalls
        )
        for one in pod.containers:
            labels = _labels(f"{pod.cgroup}/{one.id}", pod.name, pod.namespace, one.name)
            labels |= {"name": one.id, "image": one.image}
            yield _Thing(labels, one.cpu, one.memory, one.started, one.rootfs, stalls=one.stalls)


def _labels(path: str, pod: str, namespace: str, container: str) -> dict[str, str]:
    return {"id": path, "pod": pod, "namespace": namespace, "container": container, "name": "", "image": ""}


def _of_pod(pod: PodUse) -> dict[str, str]:
    return _labels(pod.cgroup, pod.name, pod.namespace, "")


_TRAFFIC: tuple[tuple[str, str, Callable[[Interface], int]], ...] = (
    ("receive_bytes", "bytes received", lambda one: one.received),
    ("receive_errors", "errors encountered while receiving", lambda one: one.received_errors),
    ("transmit_bytes", "bytes transmitted", lambda one: one.sent),
    ("transmit_errors", "errors encountered while transmitting", lambda one: one.sent_errors),
)


def _network(found: NodeUse) -> Iterator[Family]:
    holders: list[tuple[dict[str, str], Iterable[Interface]]] = [(_labels("/", "", "", ""), found.interfaces)]
    holders += [(_of_pod(pod), pod.interfaces) for pod in found.pods]
    for name, about, value in _TRAFFIC:
        samples = [
            Sample(labels | {"interface": one.name}, value(one), found.time)
            for labels, many in holders
            for one in many
        ]
        yield Family(f"container_network_{name}_total", "counter", f"Cumulative count of {about}", samples)
