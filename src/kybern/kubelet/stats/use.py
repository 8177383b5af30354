"""What is in use, as frozen facts: bytes, inodes, nanoseconds of CPU; times are seconds since 1970."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cpu:
    """``rate`` is billionths of a CPU (nanocores) of late; None until there are two samples."""

    time: float
    total: int
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """``available``: what is left to a limit, where there is one."""

    time: float
    usage: int
    working_set: int
    rss: int = 0
    faults: int = 0
    major_faults: int = 0
    available: int | None = None


@dataclass(frozen=True, slots=True)
class SwapUse:
    """``available``: what is left of what may be swapped, where that is known."""

    time: float
    usage: int
    available: int | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """The part of the last 10, 60 and 300 seconds (in hundredths) that was waited, and microseconds since the beginning."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Stalls:
    """For one resource: while ``some`` had to wait for it, and while all had to (``full``)."""

    some: Stall
    full: Stall


@dataclass(frozen=True, slots=True)
class Disk:
    """What is used of a file system: by one thing, or by all."""

    time: float = 0.0
    used: int = 0
    inodes: int = 0

    def __add__(self, other: "Disk") -> "Disk":
        return Disk(max(self.time, other.time), self.used + other.used, self.inodes + other.inodes)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A whole file system. ``kept`` is what is free, but for root only."""

    time: float
    available: int
    capacity: int
    inodes_free: int
    inodes: int
    kept: int = 0

    @property
    def used(self) -> int:
        return self.capacity - self.available - self.kept


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """What is used of a claim's volume. None is what nobody says: a driver may know bytes only."""

    time: float
    capacity: int | None = None
    available: int | None = None
    used: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None
    inodes_used: int | None = None

    @property
    def known(self) -> bool:
        """Whether anything is said."""
        return self.capacity is not None or self.inodes is not None


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface of a pod."""

    name: str
    received: int
    received_errors: int
    sent: int
    sent_errors: int


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """One running container. ``rootfs`` is its writable layer."""

    name: str
    id: str
    started: float
    cpu: Cpu | None
    memory: Memory | None
    rootfs: Disk = Disk()
    logs: Disk = Disk()
    image: str = ""
    swap: SwapUse | None = None
    stalls: Mapping[str, Stalls] = field(default_factory=dict)
    """By the resource (cpu, memory, io); empty where the kernel does not count them."""


@dataclass(frozen=True, slots=True)
class PodUse:
    """One pod. ``volumes`` by name; those in ``local`` are on the node's disk and count as ephemeral storage.

    ``claimed`` are the volumes of its claims, by the volume's name in the pod, and ``claims`` the names of those.

    ``other`` is what the kubelet itself keeps for the pod (its hosts file and the like); ``sandbox`` the runtime's id of it.
    """

    uid: str
    name: str
    namespace: str
    started: float = 0.0
    cpu: Cpu | None = None
    memory: Memory | None = None
    interfaces: tuple[Interface, ...] = ()
    processes: int = 0
    containers: tuple[ContainerUse, ...] = ()
    volumes: Mapping[str, Disk] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    claims: Mapping[str, str] = field(default_factory=dict)
    claimed: Mapping[str, VolumeUse] = field(default_factory=dict)
    other: Disk = Disk()
    cgroup: str = ""
    stalls: Mapping[str, Stalls] = field(default_factory=dict)
    sandbox: str = ""

    def disk(self, *, rootfs: bool = True, logs: bool = True, volumes: bool = True) -> Disk:
        """Together, of these kinds."""
        parts = [c.rootfs for c in self.containers if rootfs] + [c.logs for c in self.containers if logs]
        parts += [disk for name, disk in self.volumes.items() if volumes and name in self.local]
        return total(parts)

    @property
    def swap(self) -> SwapUse | None:
        """Of all its containers."""
        each = [one.swap for one in self.containers if one.swap is not None]
        left = [one.available for one in each if one.available is not None]
        if not each:
            return None
        return SwapUse(
            max(one.time for one in each), sum(one.usage for one in each), sum(left) if left else None
        )

    @property
    def ephemeral(self) -> Disk:
        """All that counts against a limit of ephemeral storage."""
        return self.disk() + self.other


@dataclass(frozen=True, slots=True)
class SystemUse:
    """One of the cgroups that upstream calls system containers: kubelet, runtime, pods (all together)."""

    name: str
    started: float
    cpu: Cpu | None
    memory: Memory
    stalls: Mapping[str, Stalls] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeUse:
    """The whole node. ``images`` is what images and writable layers use of ``image_fs``."""

    name: str
    time: float
    booted: float
    cpu: Cpu
    memory: Memory
    memory_capacity: int
    fs: FileSystem
    image_fs: FileSystem
    images: Disk
    dedicated_image_fs: bool
    processes: int
    most_processes: int
    system: tuple[SystemUse, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    pods: tuple[PodUse, ...] = ()
    swap: SwapUse | None = None
    stalls: Mapping[str, Stalls] = field(default_factory=dict)

    @property
    def pods_memory(self) -> Memory | None:
        """Of all pods together."""
        return next((one.memory for one in self.system if one.name == "pods"), None)

    def pod(self, uid: str) -> PodUse | None:
        return next((found for found in self.pods if found.uid == uid), None)


def total(parts: Iterable[Disk]) -> Disk:
    found = Disk()
    for part in parts:
        found += part
    return found
