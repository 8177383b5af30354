"""What the machine is and has, read from /proc, /sys and /etc."""

import os
import platform
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


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


@dataclass(frozen=True, slots=True)
class Pressure:
    """What is left, in bytes, inodes and process ids."""

    memory_available: int
    memory_total: int
    disk_available: int
    disk_total: int
    inodes_free: int
    inodes_total: int
    pids_available: int
    pids_total: int


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


def _huge_pages() -> Mapping[str, int]:
    found = {}
    for path in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")):
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


def has_app_armor() -> bool:
    """Whether the kernel enforces AppArmor's profiles."""
    return _text("/sys/module/apparmor/parameters/enabled").startswith("Y")


def architecture() -> str:
    """Go's name for it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def pressure(root: Path) -> Pressure:
    memory = meminfo(_text("/proc/meminfo"))
    disk = os.statvfs(root)
    most = int(_text("/proc/sys/kernel/pid_max") or 0)
    running = _text("/proc/loadavg").split()
    tasks = int(running[3].partition("/")[2]) if len(running) > 3 else 0
    return Pressure(
        memory_available=memory.get("MemAvailable", memory.get("MemFree", 0)),
        memory_total=memory.get("MemTotal", 0),
        disk_available=disk.f_bavail * disk.f_frsize,
        disk_total=disk.f_blocks * disk.f_frsize,
        inodes_free=disk.f_favail,
        inodes_total=disk.f_files,
        pids_available=max(0, most - tasks),
        pids_total=most,
    )
