"""Reading what the kernel counts for the cgroups of pods and containers, when /metrics/cadvisor is asked for. Blocking.

What goes away meanwhile is left out. A pod's packets are counted where its network is: in the namespace of its sandbox, of
which a process is found by the sandbox's cgroup.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kybern.kubelet import cgroup_names, machine
from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.stats.cadvisor import Host
from kybern.kubelet.stats.counts import (
    FILES,
    Counts,
    Packets,
    Processes,
    counted,
    open_files,
    packets,
)
from kybern.kubelet.stats.use import NodeUse

_PROC = Path("/proc")


def counts_of(found: NodeUse, cgroups: Cgroups, proc: Path = _PROC) -> Mapping[str, Counts]:
    """By the cgroup's name: of the whole machine, of pods and of their containers."""
    told = {"/": replace(_counts("/", cgroups), packets=packets(_text(proc / "net/dev")))}
    for pod in found.pods:
        if not pod.cgroup:
            continue
        sandbox = cgroup_names.of_container(pod.cgroup, pod.sandbox)
        told[pod.cgroup] = replace(_counts(pod.cgroup, cgroups), packets=_network(sandbox, cgroups, proc))
        for one in pod.containers:
            name = cgroup_names.of_container(pod.cgroup, one.id)
            told[name] = replace(_counts(name, cgroups), processes=_processes(name, cgroups, proc))
    return told


def host(counts: Mapping[str, Counts], root: Path, images: Path) -> Host:
    """The machine. ``root`` and ``images``: paths on the file systems of the kubelet and of images."""
    known, disks = (
        machine.hardware(root),
        {(one.major, one.minor) for each in counts.values() for one in each.disks},
    )
    return Host(
        machine.identity(),
        known.cpus,
        known.swap,
        machine.cpu_places(),
        source(root),
        source(images),
        {one: device(*one) for one in disks},
    )


def device(major: int, minor: int, root: Path = Path("/sys/dev/block")) -> str:
    """A disk's name as below /dev; its numbers where the kernel does not say."""
    lines = _text(root / f"{major}:{minor}" / "uevent").splitlines()
    name = next((line.removeprefix("DEVNAME=") for line in lines if line.startswith("DEVNAME=")), "")
    return f"/dev/{name}" if name else f"{major}:{minor}"


def source(path: Path, proc: Path = _PROC) -> str:
    """What the file system of a path is on (/dev/vda1), as it was mounted."""
    number = path.stat().st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for line in _text(proc / "self/mountinfo").split("\n"):
        before, _, after = line.partition(" - ")
        if line and before.split()[2] == wanted:
            return after.split()[1]
    return ""


def _counts(name: str, cgroups: Cgroups) -> Counts:
    files = {}
    for controller, names in FILES[cgroups.v2].items():
        place = cgroups.place(name, controller)
        if place is None:
            continue
        for file in names:
            if text := _text(place / file):
                files[file] = text
    return counted(time.time(), files, v2=cgroups.v2)


def _pids(name: str, cgroups: Cgroups) -> list[str]:
    place = cgroups.place(name, "memory")
    return _text(place / "cgroup.procs").split() if place is not None else []


def _network(sandbox: str, cgroups: Cgroups, proc: Path) -> Mapping[str, Packets]:
    pids = _pids(sandbox, cgroups)
    return packets(_text(proc / pids[0] / "net/dev")) if pids else {}


def _processes(name: str, cgroups: Cgroups, proc: Path) -> Processes | None:
    pids = _pids(name, cgroups)
    if not pids:
        return None
    opened = [link for pid in pids for link in _open(proc / pid / "fd")]
    sockets = sum(link.startswith("socket:") for link in opened)
    return Processes(len(pids), len(opened), sockets, open_files(_text(proc / pids[0] / "limits")))


def _open(directory: Path) -> Iterator[str]:
    """What each open file of a process is."""
    with contextlib.suppress(OSError):
        for each in directory.iterdir():
            with contextlib.suppress(OSError):
                yield str(each.readlink())


def _text(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""
