"""What must be true of this host before anything is touched. Each failure is one line with its remedy."""

import os
import shutil
from pathlib import Path

from kybern.machines import driver, images, network, xml
from kybern.machines.errors import MachineError
from kybern.machines.topology import Cluster

SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("24.04", "24.10", "25.04", "25.10", "26.04")}
# A machine's memory is a limit and not a reservation: five idle ones use a quarter of what they may.
SHARE = 4
DISK = 2048  # MiB, and as much for an image


def root() -> None:
    if os.geteuid():
        raise MachineError("machines can only be made by root; run this with sudo")


def distribution(release: str) -> None:
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    name, version = fields.get("ID", "").strip('"'), fields.get("VERSION_ID", "").strip('"')
    if version not in SUPPORTED.get(name, ()):
        raise MachineError(
            f"{name or 'this distribution'} {version} is not supported; "
            "use Debian 12 or 13, or Ubuntu 24.04 or later"
        )


def _entry(meminfo: str, name: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1024
    raise MachineError(f"/proc/meminfo does not tell {name}; is /proc mounted?")


def available(meminfo: str) -> int:
    """MiB that programs may still take."""
    return _entry(meminfo, "MemAvailable")


def total(meminfo: str) -> int:
    """MiB that the machine has."""
    return _entry(meminfo, "MemTotal")


def memory(cluster: Cluster, free: int) -> None:
    needed = sum(machine.memory for machine in cluster.machines) // (1 if cluster.driver == "qemu" else SHARE)
    if free < needed:
        raise MachineError(
            f"{free} MiB of memory are available, and cluster {cluster.name} needs about {needed}; "
            "free some, or give its machines less in the topology"
        )


def disk(cluster: Cluster, path: Path, free: int) -> None:
    needed = DISK + 512 * len(cluster.machines)
    if free < needed:
        raise MachineError(
            f"{path} has {free} MiB free, and cluster {cluster.name} needs about {needed}; make room there"
        )


def check(cluster: Cluster) -> None:
    """Everything, before the first change. A cluster that is up needs nothing more, and one made elsewhere nothing here."""
    root()
    distribution(Path("/etc/os-release").read_text())
    if (driver.STORE / cluster.name).exists() or cluster.hypervisors:
        return
    memory(cluster, available(Path("/proc/meminfo").read_text()))
    place = images.existing(driver.STORE)
    disk(cluster, place, shutil.disk_usage(place).free // 2**20)
    network.refuse_conflict(cluster.network, xml.bridge_name(cluster.name))
