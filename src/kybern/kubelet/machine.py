"""What the machine is and has, read from /proc, /sys and /etc."""

import os
import platform
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kybern.kubelet.cpus.ledger import parse as cpu_set
from kybern.kubelet.stats import whole
from kybern.kubelet.stats.use import Interface, Memory, SwapUse
from kybern.kubelet.topology.hints import Numa

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Sizes in bytes."""

    cpus: int
    memory: int
    storage: int
    swap: int = 0
    huge_pages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same from boot to boot, except ``boot_id``."""

    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def meminfo(text: str) -> Mapping[str, int]:
    """The lines of /proc/meminfo, in bytes where they have a unit."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return found


def os_release(text: str) -> Mapping[str, str]:
    lines = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value.strip().strip('"') for name, _, value in lines}


def hardware(root: Path) -> Hardware:
    """``root`` lies on the file system whose size counts (--root-dir)."""
    memory = meminfo(_text("/proc/meminfo"))
    disk = os.statvfs(root)
    return Hardware(
        cpus=os.cpu_count() or 1,
        memory=memory.get("MemTotal", 0),
        storage=disk.f_blocks * disk.f_frsize,
        swap=memory.get("SwapTotal", 0),
        huge_pages=_huge_pages(),
    )


def _huge_pages(root: Path = Path("/sys/kernel/mm/hugepages")) -> Mapping[str, int]:
    found = {}
    for path in sorted(root.glob("hugepages-*kB")):
        kilobytes = int(path.name.removeprefix("hugepages-").removesuffix("kB"))
        name = f"{kilobytes // 1048576}Gi" if kilobytes >= 1048576 else f"{kilobytes // 1024}Mi"
        count = _text(str(path / "nr_hugepages"))
        found[f"hugepages-{name}"] = int(count or 0) * kilobytes * 1024
    return found


def identity() -> Identity:
    machine = _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")
    system = _text("/sys/class/dmi/id/product_uuid").lower()
    release = os_release(_text("/etc/os-release"))
    return Identity(
        machine_id=machine,
        # Containers see no firmware: their machine id stands in, which is as unique.
        system_uuid=system or (str(uuid.UUID(machine)) if len(machine) == 32 else ""),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=release.get("PRETTY_NAME", ""),
        architecture=architecture(),
    )


def cpu_places() -> dict[int, tuple[int, int]]:
    """Socket and core of each CPU that is on."""
    found = {}
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        socket, core = (_text(str(path / name)) for name in ("physical_package_id", "core_id"))
        if socket and core:
            found[int(path.parent.name.removeprefix("cpu"))] = (int(socket), int(core))
    return found


def last_caches(root: Path = Path("/sys/devices/system/cpu")) -> dict[int, int]:
    """The lowest CPU below the same last-level cache ("uncore"), of each CPU; none where the kernel does not say."""
    found = {}
    for path in root.glob("cpu[0-9]*/cache"):
        levels = {int(_text(str(one / "level")) or 0): one for one in path.glob("index[0-9]*")}
        shared = cpu_set(_text(str(levels[max(levels)] / "shared_cpu_list"))) if levels else ()
        if shared:
            found[int(path.parent.name.removeprefix("cpu"))] = min(shared)
    return found


def numa(root: Path = Path("/sys/devices/system/node")) -> Numa:
    """The machine's NUMA nodes; all of it is one node where the kernel does not say."""
    found = {int(path.name.removeprefix("node")): path for path in root.glob("node[0-9]*")}
    nodes = tuple(sorted(found))
    if not nodes:
        return Numa()
    of_cpu = {cpu: node for node in nodes for cpu in cpu_set(_text(str(found[node] / "cpulist")))}
    rows = {node: [int(text) for text in _text(str(found[node] / "distance")).split()] for node in nodes}
    distances = {node: dict(zip(nodes, row, strict=False)) for node, row in rows.items()}
    return Numa(nodes, distances, of_cpu)


def numa_memory(
    root: Path = Path("/sys/devices/system/node"), found: Hardware | None = None
) -> dict[int, dict[str, int]]:
    """Bytes of memory and of huge pages, by NUMA node; all of the machine's on node 0 where the kernel does not say."""
    nodes = {}
    for path in root.glob("node[0-9]*"):
        lines = (
            line.partition(" MemTotal:")[2].split() for line in _text(str(path / "meminfo")).splitlines()
        )
        total = next((int(words[0]) * 1024 for words in lines if words), 0)
        nodes[int(path.name.removeprefix("node"))] = {"memory": total, **_huge_pages(path / "hugepages")}
    if not nodes and found is not None:
        nodes[0] = {"memory": found.memory, **found.huge_pages}
    return dict(sorted(nodes.items()))


def limits_swap(root: Path = _CGROUPS, own: str | None = None) -> bool:
    """Whether the kernel limits the swap of cgroups: by the files of our own. ``own`` is /proc/self/cgroup."""
    paths = dict(
        line.split(":", 2)[1:] for line in (_text("/proc/self/cgroup") if own is None else own).splitlines()
    )
    if (root / "cgroup.controllers").exists():
        return (root / paths.get("", "/").lstrip("/") / "memory.swap.max").exists()
    name = next((each for each in paths if "memory" in each.split(",")), "memory")
    return (root / "memory" / paths.get(name, "/").lstrip("/") / "memory.memsw.limit_in_bytes").exists()


def has_app_armor() -> bool:
    """Whether the kernel enforces AppArmor's profiles."""
    return _text("/sys/module/apparmor/parameters/enabled").startswith("Y")


def architecture() -> str:
    """Go's name for it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def memory() -> Memory:
    """Of the whole machine. The working set is what is used without files that can be dropped at once (cAdvisor's rule)."""
    found = meminfo(_text("/proc/meminfo"))
    usage = found.get("MemTotal", 0) - found.get("MemFree", 0)
    working = max(0, usage - found.get("Inactive(file)", 0))
    faults = dict(line.split() for line in _text("/proc/vmstat").splitlines() if line.startswith("pg"))
    total = found.get("MemTotal", 0)
    told = Memory(
        time.time(), usage, working, found.get("AnonPages", 0), int(faults.get("pgfault", 0)),
        int(faults.get("pgmajfault", 0)), total - working,
    )  # fmt: skip
    return whole.memory_of(whole.read(_CGROUPS), told, total)


def swap() -> SwapUse:
    """Of the whole machine."""
    found = meminfo(_text("/proc/meminfo"))
    left = found.get("SwapFree", 0)
    return SwapUse(time.time(), found.get("SwapTotal", 0) - left, left)


def processes() -> tuple[int, int]:
    """How many threads there are, and how many there may be."""
    running = _text("/proc/loadavg").split()
    tasks = int(running[3].partition("/")[2]) if len(running) > 3 else 0
    most = [int(_text(f"/proc/sys/kernel/{name}") or 0) for name in ("pid_max", "threads-max")]
    return tasks, min(filter(None, most), default=0)


def busy() -> int:
    """Nanoseconds of CPU that the machine spent since it booted, by its root cgroup or else by /proc/stat."""
    fields = _text("/proc/stat").partition("\n")[0].split()[1:]
    ticks = [int(text) for text in fields[:8]]  # Hundredths of a second.
    told = (sum(ticks) - sum(ticks[3:5])) * 10_000_000 if len(ticks) > 4 else 0
    return whole.busy_of(whole.read(_CGROUPS), told)


def booted() -> float:
    """When the machine booted."""
    lines = (line.split() for line in _text("/proc/stat").splitlines())
    return next((float(words[1]) for words in lines if words[0] == "btime"), 0.0)


def interfaces() -> tuple[Interface, ...]:
    """The machine's own network interfaces, without loopback and what belongs to pods."""
    found = []
    for line in _text("/proc/net/dev").splitlines()[2:]:
        name, _, rest = line.strip().partition(":")
        numbers = [int(text) for text in rest.split()]
        if name != "lo" and not name.startswith(("veth", "cni", "docker")) and len(numbers) > 10:
            found.append(Interface(name, numbers[0], numbers[2], numbers[8], numbers[10]))
    return tuple(found)
