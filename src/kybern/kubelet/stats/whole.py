"""What the whole machine uses, where the machine may be a container itself (LXC); pure but for the reading of files.

Such a machine's /proc/meminfo and /proc/stat may be those of init's own cgroup, or of the host: what its root cgroup
counts is what everything in it uses. The root of a real machine counts the same on version 1; on version 2 it counts no
memory, and /proc/meminfo says it, as upstream's does.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kybern.kubelet.stats.use import Memory

_FILES = (
    "memory/memory.usage_in_bytes", "memory/memory.use_hierarchy", "memory/memory.stat", "memory.current",
    "memory.stat", "cpuacct/cpuacct.usage", "cpu.stat",
)  # fmt: skip


def read(root: Path) -> Mapping[str, str]:
    """The root cgroup's files that are there, by their path below ``root``."""
    found = {}
    for name in _FILES:
        try:
            found[name] = (root / name).read_text()
        except OSError:
            continue
    return found


def memory_of(files: Mapping[str, str], known: Memory, total: int) -> Memory:
    """``known`` and ``total`` (bytes) are what /proc/meminfo says; the root cgroup goes before it if it counts all below."""
    if "memory/memory.usage_in_bytes" in files:
        if files.get("memory/memory.use_hierarchy", "0").strip() != "1":
            return known
        usage, prefix = int(files["memory/memory.usage_in_bytes"]), "total_"
        lines, rss = _pairs(files.get("memory/memory.stat", "")), "rss"
    elif "memory.current" in files:
        usage, prefix = int(files["memory.current"]), ""
        lines, rss = _pairs(files.get("memory.stat", "")), "anon"
    else:
        return known
    working = max(0, usage - lines.get(f"{prefix}inactive_file", 0))
    return replace(
        known,
        usage=usage,
        working_set=working,
        rss=lines.get(f"{prefix}{rss}", known.rss),
        faults=lines.get(f"{prefix}pgfault", known.faults),
        major_faults=lines.get(f"{prefix}pgmajfault", known.major_faults),
        available=max(0, total - working),
    )


def busy_of(files: Mapping[str, str], known: int) -> int:
    """Nanoseconds of CPU; ``known`` is what /proc/stat says."""
    if "cpuacct/cpuacct.usage" in files:
        return int(files["cpuacct/cpuacct.usage"])
    microseconds = _pairs(files.get("cpu.stat", "")).get("usage_usec")
    return known if microseconds is None else microseconds * 1000


def _pairs(text: str) -> Mapping[str, int]:
    words = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}
