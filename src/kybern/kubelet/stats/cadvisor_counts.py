"""The families of /metrics/cadvisor that the kernel's own counts make: names, labels and help are cAdvisor's. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from kybern.kubelet.stats.counts import Counts, CpuCounts, MemoryCounts, Packets, Processes
from kybern.kubelet.stats.exposition import Family, Sample

type Labels = Mapping[str, str]
type Values = Iterator[tuple[Labels, float]]
type Counted = tuple[Labels, Counts]
"""A cgroup's labels, and what is counted in it."""


def families(things: Iterable[Counted], device: Callable[[int, int], str]) -> Iterator[Family]:
    """``device`` gives a disk's name by its numbers."""
    found = [(labels, counts, _disks(counts, device)) for labels, counts in things]
    for name, kind, about, values in _ALL:
        samples = (
            Sample({**labels, **more}, value, counts.time)
            for labels, counts, _names in found
            for more, value in values(counts)
        )
        yield Family(name, kind, about, samples)
    for name, about, of_disk in _OF_DISKS:
        moved = (
            Sample({**labels, **more}, value, counts.time)
            for labels, counts, names in found
            for more, value in of_disk(counts, names)
        )
        yield Family(name, "counter", about, moved)


def _disks(counts: Counts, device: Callable[[int, int], str]) -> Mapping[tuple[int, int], str]:
    return {(one.major, one.minor): device(one.major, one.minor) for one in counts.disks}


def _cpu(pick: Callable[[CpuCounts], float | None]) -> Callable[[Counts], Values]:
    return lambda counts: _plain(pick(counts.cpu) if counts.cpu is not None else None)


def _limited(pick: Callable[[CpuCounts], float]) -> Callable[[Counts], Values]:
    """Told of what has a quota of CPU."""
    return _cpu(lambda cpu: pick(cpu) if cpu.quota else None)


def _memory(pick: Callable[[MemoryCounts], float | None]) -> Callable[[Counts], Values]:
    return lambda counts: _plain(pick(counts.memory) if counts.memory is not None else None)


def _processes(pick: Callable[[Processes], float]) -> Callable[[Counts], Values]:
    return lambda counts: _plain(pick(counts.processes) if counts.processes is not None else None)


def _packets(pick: Callable[[Packets], int]) -> Callable[[Counts], Values]:
    return lambda counts: (({"interface": name}, pick(one)) for name, one in counts.packets.items())


def _plain(value: float | None) -> Values:
    if value is not None:
        yield {}, value


def _faults(counts: Counts) -> Values:
    if counts.memory is None:
        return
    for scope, pair in (("container", counts.memory.own_faults), ("hierarchy", counts.memory.all_faults)):
        for name, value in zip(("pgfault", "pgmajfault"), pair, strict=True):
            yield {"failure_type": name, "scope": scope}, value


def _limits(counts: Counts) -> Values:
    if counts.processes is not None and counts.processes.open_files is not None:
        yield {"ulimit": "max_open_files"}, counts.processes.open_files


_ALL: tuple[tuple[str, str, str, Callable[[Counts], Values]], ...] = (
    ("container_cpu_user_seconds_total", "counter", "Cumulative user cpu time consumed in seconds.",
     _cpu(lambda cpu: cpu.user)),
    ("container_cpu_system_seconds_total", "counter", "Cumulative system cpu time consumed in seconds.",
     _cpu(lambda cpu: cpu.system)),
    ("container_cpu_cfs_periods_total", "counter", "Number of elapsed enforcement period intervals.",
     _limited(lambda cpu: cpu.periods)),
    ("container_cpu_cfs_throttled_periods_total", "counter", "Number of throttled period intervals.",
     _limited(lambda cpu: cpu.throttled_periods)),
    ("container_cpu_cfs_throttled_seconds_total", "counter", "Total time duration the container has been throttled.",
     _limited(lambda cpu: cpu.throttled)),
    ("container_spec_cpu_period", "gauge", "CPU period of the container.", _cpu(lambda cpu: cpu.period or None)),
    ("container_spec_cpu_quota", "gauge", "CPU quota of the container.", _limited(lambda cpu: cpu.quota)),
    ("container_spec_cpu_shares", "gauge", "CPU share of the container.", _cpu(lambda cpu: cpu.shares or None)),
    ("container_spec_memory_limit_bytes", "gauge", "Memory limit for the container.",
     _memory(lambda memory: memory.limit)),
    ("container_spec_memory_swap_limit_bytes", "gauge", "Memory swap limit for the container.",
     _memory(lambda memory: memory.swap_limit)),
    ("container_spec_memory_reservation_limit_bytes", "gauge", "Memory reservation limit for the container.",
     _memory(lambda memory: memory.reservation)),
    ("container_memory_cache", "gauge", "Number of bytes of page cache memory.", _memory(lambda memory: memory.cache)),
    ("container_memory_mapped_file", "gauge", "Size of memory mapped files in bytes.",
     _memory(lambda memory: memory.mapped)),
    ("container_memory_swap", "gauge", "Container swap usage in bytes.", _memory(lambda memory: memory.swap)),
    ("container_memory_kernel_usage", "gauge", "Size of kernel memory allocated in bytes.",
     _memory(lambda memory: memory.kernel)),
    ("container_memory_max_usage_bytes", "gauge", "Maximum memory usage recorded in bytes",
     _memory(lambda memory: memory.most)),
    ("container_memory_total_active_file_bytes", "gauge", "Current total active file in bytes.",
     _memory(lambda memory: memory.active_file)),
    ("container_memory_total_inactive_file_bytes", "gauge", "Current total inactive file in bytes.",
     _memory(lambda memory: memory.inactive_file)),
    ("container_memory_failcnt", "counter", "Number of memory usage hits limits", _memory(lambda memory: memory.hits)),
    ("container_memory_failures_total", "counter", "Cumulative count of memory allocation failures.", _faults),
    ("container_oom_events_total", "counter", "Count of out of memory events observed for the container",
     _memory(lambda memory: memory.killed)),
    ("container_threads", "gauge", "Number of threads running inside the container",
     lambda counts: _plain(counts.threads)),
    ("container_threads_max", "gauge",
     "Maximum number of threads allowed inside the container, infinity if value is zero",
     lambda counts: _plain(counts.most_threads)),
    ("container_file_descriptors", "gauge", "Number of open file descriptors for the container.",
     _processes(lambda processes: processes.files)),
    ("container_sockets", "gauge", "Number of open sockets for the container.",
     _processes(lambda processes: processes.sockets)),
    ("container_ulimits_soft", "gauge",
     "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice", _limits),
    ("container_network_receive_packets_total", "counter", "Cumulative count of packets received",
     _packets(lambda one: one.received)),
    ("container_network_receive_packets_dropped_total", "counter",
     "Cumulative count of packets dropped while receiving", _packets(lambda one: one.received_dropped)),
    ("container_network_transmit_packets_total", "counter", "Cumulative count of packets transmitted",
     _packets(lambda one: one.sent)),
    ("container_network_transmit_packets_dropped_total", "counter",
     "Cumulative count of packets dropped while transmitting", _packets(lambda one: one.sent_dropped)),
)  # fmt: skip

type Names = Mapping[tuple[int, int], str]


def _moved(operation: str, *, sizes: bool) -> Callable[[Counts, Names], Values]:
    def values(counts: Counts, names: Names) -> Values:
        for one in counts.disks:
            found = (one.bytes if sizes else one.operations).get(operation)
            if found is not None:
                yield {"device": names[one.major, one.minor]}, found

    return values


def _usage(counts: Counts, names: Names) -> Values:
    for one in counts.disks:
        numbers = {"major": str(one.major), "minor": str(one.minor)}
        for operation, value in one.bytes.items():
            yield {"device": names[one.major, one.minor], "operation": operation, **numbers}, value


_OF_DISKS: tuple[tuple[str, str, Callable[[Counts, Names], Values]], ...] = (
    ("container_blkio_device_usage_total", "Blkio Device bytes usage", _usage),
    ("container_fs_reads_bytes_total", "Cumulative count of bytes read", _moved("Read", sizes=True)),
    ("container_fs_reads_total", "Cumulative count of reads completed", _moved("Read", sizes=False)),
    ("container_fs_writes_bytes_total", "Cumulative count of bytes written", _moved("Write", sizes=True)),
    ("container_fs_writes_total", "Cumulative count of writes completed", _moved("Write", sizes=False)),
)
