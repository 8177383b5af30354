"""What the kubelet and its runtime use, and all pods together: upstream calls these system containers. Blocking.

Their cgroups are those that systemd made for their units. The kubelet's is in /proc/self/cgroup; the runtime's is that of
the process which listens at its socket. Whoever is in the root cgroup, with everybody else, is not told of.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kybern.kubelet.cgroups import Cgroups
from kybern.kubelet.stats import stalls
from kybern.kubelet.stats.use import Cpu, SystemUse

_PATIENCE = 0.2
_CREDENTIALS = struct.Struct("3i")


def cgroup_of(text: str, *, v2: bool) -> str:
    """A process's cgroup, from /proc/PID/cgroup; of version 1 where its memory counts. "" for none of its own. Pure."""
    for line in text.splitlines():
        _number, controllers, path = line.split(":", 2)
        if controllers == "" if v2 else "memory" in controllers.split(","):
            return "" if path == "/" else path
    return ""


def listener(address: str) -> int:
    """Which process listens at a Unix socket (unix:///...). Raises OSError."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_PATIENCE)
        asking.connect(address.removeprefix("unix://"))
        told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[0])


class System:
    """``endpoint``: the runtime's socket."""

    def __init__(self, cgroups: Cgroups, endpoint: str, proc: Path = Path("/proc")) -> None:
        self._cgroups = cgroups
        self._endpoint = endpoint
        self._proc = proc

    def take(self, booted: float, rated: Callable[[str, Cpu], Cpu]) -> Iterator[SystemUse]:
        """Of each that has a cgroup. ``booted`` stands for when they began; ``rated`` adds the rate of CPU of late."""
        for name, cgroup in self._places().items():
            memory = self._cgroups.memory(cgroup)
            if memory is None:
                continue
            used = self._cpu(cgroup)
            waits = stalls.read(self._cgroups.path(cgroup)) if self._cgroups.v2 else {}
            cpu = rated(f"system/{name}", Cpu(time.time(), used)) if used is not None else None
            yield SystemUse(name, booted, cpu, memory, waits)

    def _places(self) -> Mapping[str, str]:
        found = {"kubelet": self._of("self"), "pods": self._cgroups.parent}
        with contextlib.suppress(OSError):
            found["runtime"] = self._of(str(listener(self._endpoint)))
        return {name: place for name, place in found.items() if place}

    def _of(self, process: str) -> str:
        try:
            return cgroup_of((self._proc / process / "cgroup").read_text(), v2=self._cgroups.v2)
        except OSError:
            return ""

    def _cpu(self, cgroup: str) -> int | None:
        """Nanoseconds."""
        place = self._cgroups.place(cgroup, "cpu" if self._cgroups.v2 else "cpuacct")
        try:
            if place is None:
                return None
            if not self._cgroups.v2:
                return int((place / "cpuacct.usage").read_text())
            lines = dict(line.split() for line in (place / "cpu.stat").read_text().splitlines())
            return int(lines["usage_usec"]) * 1000
        except (OSError, KeyError):
            return None
