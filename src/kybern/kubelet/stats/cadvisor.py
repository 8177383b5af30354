"""/metrics/cadvisor: what dashboards of containers are made from. Pure.

The names and labels are cAdvisor's, for what is measured here: machine, the root, pods and their containers. What the
runtime tells is here; what the kernel counts beyond that is in ``cadvisor_counts``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from kybern.kubelet import cgroup_names
from kybern.kubelet.machine import Identity
from kybern.kubelet.stats import cadvisor_counts
from kybern.kubelet.stats.counts import Counts
from kybern.kubelet.stats.exposition import Family, Sample
from kybern.kubelet.stats.use import Cpu, Disk, FileSystem, Interface, Memory, NodeUse, PodUse, Stall, Stalls

_NANO = 1e9
_MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Host:
    """The machine. ``places``: socket and core of each CPU; ``disk`` and ``image_disk``: what file systems are on."""

    identity: Identity
    cpus: int
    swap: int = 0
    places: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    disk: str = ""
    image_disk: str = ""

    def device(self, major: int, minor: int) -> str:
        """A disk's name, where it is known."""
        return self.devices.get((major, minor), f"{major}:{minor}")

    devices: Mapping[tuple[int, int], str] = field(default_factory=dict)


class _Thing(NamedTuple):
    """One cgroup: labels, and what is known of it."""

    labels: dict[str, str]
    cpu: Cpu | None
    memory: Memory | None
    started: float
    rootfs: Disk | None = None
    processes: int | None = None
    stalls: Mapping[str, Stalls] = MappingProxyType({})


def families(found: NodeUse, host: Host, counts: Mapping[str, Counts]) -> Iterator[Family]:
    """``counts`` by the cgroup's name, which is the label ``id``."""
    things = [_root(found), *_things(found, counts)]
    yield from _machine(found, host)
    used = (Sample({**one.labels, "cpu": "total"}, value, _when(one)) for one, value in _each(things, _cpu))
    yield Family(
        "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", used
    )
    for name, kind, about, value in _OF_THINGS:
        samples = (Sample(thing.labels, got, _when(thing)) for thing, got in _each(things, value))
        yield Family(name, kind, about, samples)
    for name, about, resource, of in _OF_STALLS:
        pairs = ((thing, thing.stalls.get(resource)) for thing in things)
        waited = (
            Sample(thing.labels, of(both).total / _MICRO, _when(thing))
            for thing, both in pairs
            if both is not None
        )
        yield Family(name, "counter", about, waited)
    yield from _disks(found, host, things)
    yield from _network(found)
    yield from cadvisor_counts.families(_counted(found, things, counts), host.device)
    yield Family(
        "container_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        [Sample({}, 0)],
    )


def _machine(found: NodeUse, host: Host) -> Iterator[Family]:
    one = host.identity
    labels = {"machine_id": one.machine_id, "system_uuid": one.system_uuid, "boot_id": one.boot_id}
    for name, about, value in (
        ("machine_cpu_cores", "Number of logical CPU cores.", host.cpus),
        ("machine_cpu_physical_cores", "Number of physical CPU cores.", len(set(host.places.values()))),
        (
            "machine_cpu_sockets",
            "Number of CPU sockets.",
            len({socket for socket, _ in host.places.values()}),
        ),
        ("machine_memory_bytes", "Amount of memory installed on the machine.", found.memory_capacity),
        ("machine_swap_bytes", "Amount of swap memory available on the machine.", host.swap),
    ):
        yield Family(name, "gauge", about, [Sample(labels, value)])
    about = "1 if there was an error while getting machine metrics, 0 otherwise."
    yield Family("machine_scrape_error", "gauge", about, [Sample({}, 0)])
    systems = {"kernelVersion": one.kernel, "osVersion": one.os_image}
    nobody = dict.fromkeys(("cadvisorRevision", "cadvisorVersion", "dockerVersion"), "")
    yield Family(
        "cadvisor_version_info",
        "gauge",
        "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version "
        "& cadvisor revision.",
        [Sample(systems | nobody, 1)],
    )


def _each(
    things: Iterable[_Thing], value: Callable[[_Thing], float | None]
) -> Iterator[tuple[_Thing, float]]:
    """Those of which it is known."""
    for thing in things:
        if (found := value(thing)) is not None:
            yield thing, found


def _when(thing: _Thing) -> float:
    known = thing.memory or thing.cpu or None
    return known.time if known is not None else 0.0


def _counted(
    found: NodeUse, things: Iterable[_Thing], counts: Mapping[str, Counts]
) -> Iterator[tuple[dict[str, str], Counts]]:
    """What is counted of each, and of a network only what the runtime tells of, too."""
    known = {"/": found.interfaces} | {pod.cgroup: pod.interfaces for pod in found.pods}
    for thing in things:
        name = thing.labels["id"]
        if name in counts:
            every, shown = counts[name], {one.name for one in known.get(name, ())}
            yield (
                thing.labels,
                replace(every, packets={key: every.packets[key] for key in every.packets if key in shown}),
            )


def _cpu(thing: _Thing) -> float | None:
    return thing.cpu.total / _NANO if thing.cpu is not None else None


def _of_memory(pick: Callable[[Memory], float]) -> Callable[[_Thing], float | None]:
    return lambda thing: pick(thing.memory) if thing.memory is not None else None


_OF_THINGS: tuple[tuple[str, str, str, Callable[[_Thing], float | None]], ...] = (
    ("container_memory_usage_bytes", "gauge",
     "Current memory usage in bytes, including all memory regardless of when it was accessed",
     _of_memory(lambda memory: memory.usage)),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.",
     _of_memory(lambda memory: memory.working_set)),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", _of_memory(lambda memory: memory.rss)),
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


def _disks(found: NodeUse, host: Host, things: Iterable[_Thing]) -> Iterator[Family]:
    """Of the machine whole file systems; of containers what they wrote."""
    whole = [(host.disk, found.fs)]
    if found.dedicated_image_fs:
        whole.append((host.image_disk, found.image_fs))
    root = _labels("/", "", "", "")
    for name, about, of in _OF_FILE_SYSTEMS:
        samples = [Sample({**root, "device": device}, of(one), one.time) for device, one in whole]
        if name == "container_fs_usage_bytes":
            samples += (
                Sample({**one.labels, "device": host.image_disk}, one.rootfs.used, _when(one))
                for one in things
                if one.rootfs is not None
            )
        yield Family(name, "gauge", about, samples)


_OF_FILE_SYSTEMS: tuple[tuple[str, str, Callable[[FileSystem], int]], ...] = (
    ("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.",
     lambda one: one.used),
    ("container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.",
     lambda one: one.capacity),
    ("container_fs_inodes_free", "Number of available Inodes", lambda one: one.inodes_free),
    ("container_fs_inodes_total", "Number of Inodes", lambda one: one.inodes),
)  # fmt: skip


def _things(found: NodeUse, counts: Mapping[str, Counts]) -> Iterator[_Thing]:
    for pod in found.pods:
        yield _Thing(
            _of_pod(pod), pod.cpu, pod.memory, pod.started, processes=pod.processes, stalls=pod.stalls
        )
        for one in pod.containers:
            name = cgroup_names.of_container(pod.cgroup, one.id)
            labels = _labels(name, pod.name, pod.namespace, one.name)
            labels |= {"name": one.id, "image": one.image}
            processes = counts[name].processes if name in counts else None
            running = processes.count if processes is not None else None
            yield _Thing(labels, one.cpu, one.memory, one.started, one.rootfs, running, one.stalls)


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
