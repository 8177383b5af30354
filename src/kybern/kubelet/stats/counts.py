"""What the kernel counts in a cgroup and a runtime does not tell, read from the cgroup's files. Pure.

Version 2 first; of version 1 the same facts have other names, and lie in the trees of several controllers. What a file that
is not there would say is None, or 0 where that means the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# Above this there is no limit (cAdvisor: maxMemorySize).
_NO_LIMIT = 1 << 62
_MICRO, _NANO = 1e6, 1e9
_TICKS = 100
"""Hundredths of a second, in which version 1 tells of user and system time."""

FILES: Mapping[bool, Mapping[str, tuple[str, ...]]] = {
    True: {
        "cpu": ("cpu.stat", "cpu.max", "cpu.weight"),
        "memory": (
            "memory.stat", "memory.max", "memory.low", "memory.peak", "memory.events", "memory.swap.max",
            "memory.swap.current",
        ),
        "pids": ("pids.current", "pids.max"),
        "io": ("io.stat",),
    },
    False: {
        "cpuacct": ("cpuacct.stat",),
        "cpu": ("cpu.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares"),
        "memory": (
            "memory.stat", "memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.memsw.limit_in_bytes",
            "memory.max_usage_in_bytes", "memory.failcnt", "memory.kmem.usage_in_bytes", "memory.oom_control",
        ),
        "pids": ("pids.current", "pids.max"),
        "blkio": ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
    },
}  # fmt: skip
"""Which files are read, by whether it is version 2 and by the controller."""


@dataclass(frozen=True, slots=True)
class CpuCounts:
    """Seconds; ``quota`` and ``period`` in microseconds, no quota is 0. ``shares`` as version 1 has them."""

    user: float = 0.0
    system: float = 0.0
    periods: int = 0
    throttled_periods: int = 0
    throttled: float = 0.0
    quota: int = 0
    period: int = 0
    shares: int = 0


@dataclass(frozen=True, slots=True)
class MemoryCounts:
    """Bytes; a limit of 0 is none. ``hits``: how often the limit was met. Faults are (all, major)."""

    cache: int = 0
    mapped: int = 0
    swap: int = 0
    most: int | None = None
    kernel: int | None = None
    active_file: int = 0
    inactive_file: int = 0
    hits: int = 0
    killed: int = 0
    limit: int = 0
    swap_limit: int = 0
    reservation: int = 0
    own_faults: tuple[int, int] = (0, 0)
    all_faults: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Moved:
    """What went to or from one disk, by the kind of operation (Read, Write ...): bytes, and how many operations."""

    major: int
    minor: int
    bytes: Mapping[str, int] = field(default_factory=dict)
    operations: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Processes:
    """Of all processes in a cgroup. ``open_files``: how many its first may have open; -1 is any number."""

    count: int
    files: int
    sockets: int
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class Packets:
    """Of one network interface."""

    received: int
    received_dropped: int
    sent: int
    sent_dropped: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one cgroup, when it was read; None where there is no such controller."""

    time: float
    cpu: CpuCounts | None = None
    memory: MemoryCounts | None = None
    threads: int | None = None
    most_threads: int | None = None
    """0 is any number."""
    disks: tuple[Moved, ...] = ()
    processes: Processes | None = None
    packets: Mapping[str, Packets] = field(default_factory=dict)
    """By the interface, where it is a pod's."""


def counted(time: float, files: Mapping[str, str], *, v2: bool) -> Counts:
    """From the texts of the files that are there, by their names."""
    most = files.get("pids.max")
    return Counts(
        time,
        (_cpu_v2 if v2 else _cpu_v1)(files) if "cpu.stat" in files else None,
        (_memory_v2 if v2 else _memory_v1)(files) if "memory.stat" in files else None,
        _number(files, "pids.current") if "pids.current" in files else None,
        None if most is None else _number(files, "pids.max"),
        tuple(_moved_v2(files.get("io.stat", "")) if v2 else _moved_v1(files)),
    )


def _cpu_v2(files: Mapping[str, str]) -> CpuCounts:
    lines = _pairs(files["cpu.stat"])
    quota, _, period = files.get("cpu.max", "").strip().partition(" ")
    weight = _number(files, "cpu.weight")
    return CpuCounts(
        lines.get("user_usec", 0) / _MICRO,
        lines.get("system_usec", 0) / _MICRO,
        lines.get("nr_periods", 0),
        lines.get("nr_throttled", 0),
        lines.get("throttled_usec", 0) / _MICRO,
        int(quota) if quota.isdigit() else 0,
        int(period) if period.isdigit() else 0,
        2 + (weight - 1) * 262142 // 9999 if weight else 0,
    )


def _cpu_v1(files: Mapping[str, str]) -> CpuCounts:
    spent, lines = _pairs(files.get("cpuacct.stat", "")), _pairs(files["cpu.stat"])
    return CpuCounts(
        spent.get("user", 0) / _TICKS,
        spent.get("system", 0) / _TICKS,
        lines.get("nr_periods", 0),
        lines.get("nr_throttled", 0),
        lines.get("throttled_time", 0) / _NANO,
        _number(files, "cpu.cfs_quota_us"),
        _number(files, "cpu.cfs_period_us"),
        _number(files, "cpu.shares"),
    )


def _memory_v2(files: Mapping[str, str]) -> MemoryCounts:
    lines, events = _pairs(files["memory.stat"]), _pairs(files.get("memory.events", ""))
    faults = lines.get("pgfault", 0), lines.get("pgmajfault", 0)
    return MemoryCounts(
        cache=lines.get("file", 0),
        mapped=lines.get("file_mapped", 0),
        swap=_number(files, "memory.swap.current"),
        most=_number(files, "memory.peak") if "memory.peak" in files else None,
        kernel=lines.get("kernel"),
        active_file=lines.get("active_file", 0),
        inactive_file=lines.get("inactive_file", 0),
        hits=events.get("max", 0),
        killed=events.get("oom_kill", 0),
        limit=_limit(files, "memory.max"),
        swap_limit=_limit(files, "memory.swap.max"),
        reservation=_limit(files, "memory.low"),
        own_faults=faults,
        all_faults=faults,
    )


def _memory_v1(files: Mapping[str, str]) -> MemoryCounts:
    lines, kernel = _pairs(files["memory.stat"]), "memory.kmem.usage_in_bytes"
    return MemoryCounts(
        cache=lines.get("total_cache", 0),
        mapped=lines.get("total_mapped_file", 0),
        swap=lines.get("total_swap", 0),
        most=_number(files, "memory.max_usage_in_bytes"),
        kernel=_number(files, kernel) if kernel in files else None,
        active_file=lines.get("total_active_file", 0),
        inactive_file=lines.get("total_inactive_file", 0),
        hits=_number(files, "memory.failcnt"),
        killed=_pairs(files.get("memory.oom_control", "")).get("oom_kill", 0),
        limit=_limit(files, "memory.limit_in_bytes"),
        swap_limit=_limit(files, "memory.memsw.limit_in_bytes"),
        reservation=_limit(files, "memory.soft_limit_in_bytes"),
        own_faults=(lines.get("pgfault", 0), lines.get("pgmajfault", 0)),
        all_faults=(lines.get("total_pgfault", 0), lines.get("total_pgmajfault", 0)),
    )


def _moved_v2(text: str) -> Iterator[Moved]:
    for line in text.splitlines():
        device, *words = line.split()
        values = _pairs("\n".join(word.replace("=", " ") for word in words))
        yield Moved(
            *_device(device),
            {name: values[key] for key, name in _BYTES if key in values},
            {name: values[key] for key, name in _OPERATIONS if key in values},
        )


_BYTES = (("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard"))
_OPERATIONS = (("rios", "Read"), ("wios", "Write"), ("dios", "Discard"))


def _moved_v1(files: Mapping[str, str]) -> Iterator[Moved]:
    sizes, times = (
        _by_device(files.get(f"blkio.throttle.{name}", "")) for name in ("io_service_bytes", "io_serviced")
    )
    for device, size in sizes.items():
        yield Moved(*_device(device), size, times.get(device, {}))


def _by_device(text: str) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            found.setdefault(words[0], {})[words[1]] = int(words[2])
    return found


def _device(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def packets(text: str) -> Mapping[str, Packets]:
    """From /proc/net/dev, by the interface."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.strip().partition(":")
        numbers = [int(word) for word in rest.split()]
        if len(numbers) > 11:
            found[name] = Packets(numbers[1], numbers[3], numbers[9], numbers[11])
    return found


def open_files(text: str) -> int | None:
    """How many files a process may have open (the soft limit), from /proc/PID/limits; -1 for any number."""
    line = next((line for line in text.splitlines() if line.startswith("Max open files")), "")
    words = line.removeprefix("Max open files").split()
    if not words:
        return None
    return int(words[0]) if words[0].isdigit() else -1


def _pairs(text: str) -> Mapping[str, int]:
    words = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}


def _number(files: Mapping[str, str], name: str) -> int:
    """0 for "max", for -1 and for nothing."""
    text = files.get(name, "").strip()
    return int(text) if text.isdigit() else 0


def _limit(files: Mapping[str, str], name: str) -> int:
    found = _number(files, name)
    return 0 if found > _NO_LIMIT else found
