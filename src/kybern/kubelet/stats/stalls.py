"""How long those in a cgroup waited for CPU, memory or disks (pressure stall information), as cgroups of version 2 tell it.

Nothing where the kernel does not count it (version 1, or ``psi=0``). The kernel's documentation: accounting/psi.rst.
"""

from collections.abc import Mapping
from pathlib import Path

from kybern.kubelet.stats.use import Stall, Stalls

RESOURCES = ("cpu", "memory", "io")


def parsed(text: str) -> Stalls:
    """What one file says. Pure; raises ValueError or KeyError for what is no such file."""
    found = {}
    for line in text.splitlines():
        who, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        each = [float(values[name]) for name in ("avg10", "avg60", "avg300")]
        found[who] = Stall(each[0], each[1], each[2], int(values["total"]))
    # Not all kernels count for the CPU of the whole machine when all had to wait.
    return Stalls(found["some"], found.get("full", Stall()))


def read(cgroup: Path) -> Mapping[str, Stalls]:
    """Of one cgroup, by the resource. Blocking; what is not there or cannot be read is left out."""
    found = {}
    for name in RESOURCES:
        try:
            found[name] = parsed((cgroup / f"{name}.pressure").read_text())
        except (OSError, ValueError, KeyError):
            continue
    return found
