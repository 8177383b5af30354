"""The cgroups above containers: /kubepods, its classes, and one for each pod.

What holds on both versions of cgroups: the runtime is given a parent that exists and has the controllers it needs; the
pod's limits hold for all of its containers together. On version 1 every controller has a tree of its own; on version 2
controllers must be passed down level by level before anything runs below. With the systemd driver they are slices, which
systemd makes and removes; what is written here is told to it, too.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kybern.api.core_v1 import Pod
from kybern.kubelet import cgroup_names, resources
from kybern.kubelet.slices import Limits, Slices
from kybern.kubelet.stats.use import Memory

log = logging.getLogger(__name__)

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "hugetlb", "io")
_MEMORY_V1 = ("memory.usage_in_bytes", "total_inactive_file", "memory.limit_in_bytes")
# What version 1 shows where there is no limit is near the largest number.
_NO_LIMIT = 1 << 62


def is_v2(root: Path = _ROOT) -> bool:
    return (root / "cgroup.controllers").exists()


@dataclass(frozen=True, slots=True)
class Room:
    """What a cgroup may have: thousandths of a CPU, bytes, processes; 0 is any number."""

    milli_cpu: int
    memory: int
    pids: int = 0


def _weight(shares: int) -> int:
    """From version 1 to version 2 (KEP-2254)."""
    return 1 + ((shares - 2) * 9999) // 262142


def _inside(tree: Path) -> Iterator[Path]:
    """What is in a cgroup; nothing where it is not there."""
    with contextlib.suppress(FileNotFoundError):
        yield from tree.iterdir()


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


class Cgroups:
    """Makes and removes cgroups below ``parent`` (upstream's --cgroup-root, then kubepods).

    ``pids`` is how many processes a pod may have; -1 is any number. ``slices`` are there with the systemd driver.
    ``huge``: the sizes of pages there are (hugepages-2Mi).
    """

    def __init__(
        self,
        parent: str = "/kubepods",
        root: Path = _ROOT,
        period: int = resources.PERIOD,
        pids: int = -1,
        slices: Slices | None = None,
        huge: tuple[str, ...] = (),
    ) -> None:
        self._slices = slices
        self._pids = pids
        self._huge = huge
        self.unlimited: Callable[[str], bool] = lambda _uid: False
        """Which pods' time on CPUs is not limited as a whole, by the uid."""
        self.parent = parent
        self._root = root
        self._period = period
        self.v2 = is_v2(root)

    def prepare(self, room: Room | None = None) -> None:
        """The cgroups of the classes. What the machine does not let us do is logged: pods run without it."""
        for name in self._levels():
            self._make(name)
        lowest = cgroup_names.below(self.parent, "besteffort")
        for tree in self._trees(lowest, "cpu"):
            self._write(tree, {"cpu.shares": "2"}, {"cpu.weight": "1"})
        self._tell(lowest, Limits(weight=1, shares=2))
        if room is not None:
            self._set(self.parent, room)

    def reserve(self, name: str, room: Room) -> None:
        """Limit a cgroup of the system, which is there, to what was reserved for it. Raises FileNotFoundError."""
        if not all(tree.is_dir() for tree in self._trees(name, "memory")):
            raise FileNotFoundError(f"cgroup {name} does not exist")
        self._set(name, room)

    def _set(self, name: str, room: Room) -> None:
        """What everything below a cgroup may have together; 0 sets nothing."""
        shares = resources.shares(room.milli_cpu)
        self._tell(
            name,
            Limits(_weight(shares), shares, memory=room.memory or None, pids=room.pids or None)
            if room.milli_cpu
            else Limits(memory=room.memory or None, pids=room.pids or None),
        )
        for tree in self._trees(name, "cpu") if room.milli_cpu else ():
            self._write(tree, {"cpu.shares": str(shares)}, {"cpu.weight": str(_weight(shares))})
        for tree in self._trees(name, "memory") if room.memory else ():
            self._write(tree, {"memory.limit_in_bytes": str(room.memory)}, {"memory.max": str(room.memory)})
        if room.pids:
            for tree in self._trees(name, "pids"):
                self._write(tree, {"pids.max": str(room.pids)}, {"pids.max": str(room.pids)})

    def _weigh(self) -> None:
        """Burstable pods together weigh what they ask for, and at least a little."""
        name = cgroup_names.below(self.parent, "burstable")
        file, least = ("cpu.weight", 1) if self.v2 else ("cpu.shares", 2)
        for tree in self._trees(name, "cpu"):
            each = [_number(path / file) for path in _inside(tree) if cgroup_names.uid_of(path.name)]
            whole = max(least, min(sum(each), 10_000 if self.v2 else 262_144))
            self._write(tree, {file: str(whole)}, {file: str(whole)})
            self._tell(name, Limits(weight=whole, shares=whole))

    def make(self, pod: Pod) -> str:
        """The pod's cgroup with its limits."""
        name = resources.cgroup_of(pod, self.parent)
        self._make(name)
        self.limit(pod)
        return name

    def limit(self, pod: Pod) -> None:
        """Give the pod's cgroup the limits of the pod. What the kernel refuses is logged: containers have their own."""
        name = resources.cgroup_of(pod, self.parent)
        whole = resources.total(pod)
        shares = resources.shares(whole.milli_cpu)
        free = self.unlimited(pod.metadata.uid)
        quota = 0 if free else resources.quota(whole.cpu_limit or 0, self._period)
        for tree in self._trees(name, "cpu"):
            limit = f"{quota} {self._period}" if quota else "max"
            self._write(
                tree,
                {
                    "cpu.shares": str(shares),
                    "cpu.cfs_period_us": str(self._period),
                    "cpu.cfs_quota_us": str(quota or -1),
                },
                {"cpu.weight": str(_weight(shares)), "cpu.max": limit},
            )
        for tree in self._trees(name, "memory"):
            text = str(whole.memory_limit) if whole.memory_limit else ""
            self._write(tree, {"memory.limit_in_bytes": text or "-1"}, {"memory.max": text or "max"})
        if self._pids > 0:
            for tree in self._trees(name, "pids"):
                self._write(tree, {"pids.max": str(self._pids)}, {"pids.max": str(self._pids)})
        for tree in self._trees(name, "hugetlb") if self._huge else ():
            for size in self._huge:
                most = resources.limit_of(pod, size)
                limit = str((resources.limits_of(pod, size) if most is None else most) // 1000)
                file = resources.page_size(size)
                self._write(tree, {f"hugetlb.{file}.limit_in_bytes": limit}, {f"hugetlb.{file}.max": limit})
        pids = self._pids if self._pids > 0 else None
        self._tell(
            name, Limits(_weight(shares), shares, quota or 0, self._period, whole.memory_limit or 0, pids)
        )
        self._weigh()

    def lift(self, pod: Pod) -> None:
        """Take the limits of the pod's cgroup away for a moment, so that its containers can be given more than before."""
        name = resources.cgroup_of(pod, self.parent)
        for tree in self._trees(name, "cpu"):
            self._write(tree, {"cpu.cfs_quota_us": "-1"}, {"cpu.max": f"max {self._period}"})
        for tree in self._trees(name, "memory"):
            self._write(tree, {"memory.limit_in_bytes": "-1"}, {"memory.max": "max"})
        self._tell(name, Limits(quota=0, period=self._period, memory=0))

    def remove(self, name: str) -> None:
        """Remove a pod's cgroup; one that still has something in it stays."""
        self._stop(name)
        for tree in self._trees(name):
            for child in sorted(tree.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                with contextlib.suppress(OSError):
                    child.rmdir()
            try:
                tree.rmdir()
            except FileNotFoundError:
                continue
            except OSError as problem:
                log.debug("cannot remove cgroup %s: %s", tree, problem)
        self._weigh()

    def memory(self, name: str) -> Memory | None:
        """What is used in a cgroup and below it; None where there is none. The limit says what is available."""
        tree = self.place(name, "memory")
        names = ("memory.current", "inactive_file", "memory.max") if self.v2 else _MEMORY_V1
        try:
            assert tree is not None
            usage = int((tree / names[0]).read_text())
            lines = dict(line.split() for line in (tree / "memory.stat").read_text().splitlines())
            limit = (tree / names[2]).read_text().strip()
        except (OSError, AssertionError):
            return None
        working = max(0, usage - int(lines.get(names[1], 0)))
        known = limit.isdigit() and int(limit) < _NO_LIMIT
        left = max(0, int(limit) - working) if known else None
        rss = int(lines.get("anon", lines.get("total_rss", 0)))
        faults = int(lines.get("pgfault", 0)), int(lines.get("pgmajfault", 0))
        return Memory(time.time(), usage, working, rss, *faults, left)

    def pods(self) -> Iterator[tuple[str, str]]:
        """Pods that have a cgroup: uid and the cgroup's name."""
        for level in self._levels():
            for tree in self._trees(level, "memory"):
                for path in _inside(tree):
                    if uid := cgroup_names.uid_of(path.name):
                        yield uid, f"{level}/{path.name}"

    def _levels(self) -> tuple[str, ...]:
        """Where pods are: those with guarantees at the top, the others by their class."""
        return (
            self.parent, *(cgroup_names.below(self.parent, part) for part in ("burstable", "besteffort"))
        )  # fmt: skip

    def _tell(self, name: str, limits: Limits) -> None:
        """Say a slice's limits to systemd."""
        unit = cgroup_names.unit_of(name)
        if self._slices is None or not unit:
            return
        try:
            self._slices.limit(unit, limits, v2=self.v2)
        except OSError as problem:
            log.warning("cannot limit %s: %s", unit, problem)

    def _stop(self, name: str) -> None:
        unit = cgroup_names.unit_of(name)
        if self._slices is None or not unit:
            return
        try:
            self._slices.stop(unit)
        except OSError as problem:
            log.warning("cannot stop %s: %s", unit, problem)

    def path(self, name: str) -> Path:
        """Where a cgroup of version 2 is."""
        return self._root / name.lstrip("/")

    def place(self, name: str, controller: str) -> Path | None:
        """Where a controller keeps what it knows of a cgroup; None where the machine has no such controller."""
        return next(self._trees(name, controller), None)

    def _trees(self, name: str, controller: str = "") -> Iterator[Path]:
        if self.v2:
            yield self.path(name)
            return
        for tree in self._hierarchies():
            if not controller or controller in tree.name.split(","):
                yield tree / name.lstrip("/")

    def _hierarchies(self) -> list[Path]:
        """Of version 1: each mounted hierarchy once, although cpu and cpuacct may be one under two names.

        A directory without processes of its own is a name that nothing was mounted at.
        """
        return sorted({path.resolve() for path in self._root.iterdir() if (path / "cgroup.procs").exists()})

    def _make(self, name: str) -> None:
        unit = cgroup_names.unit_of(name)
        if self._slices is not None and unit:
            try:
                self._slices.start(unit)
            except OSError as problem:
                log.warning("cannot make %s: %s", unit, problem)
        for tree in self._trees(name):
            try:
                tree.mkdir(parents=True, exist_ok=True)
                if self.v2:
                    self._pass_down(tree)
                elif "cpuset" in tree.parts[len(self._root.parts)]:
                    self._inherit_cpuset(tree)
            except OSError as problem:
                log.warning("cannot make cgroup %s: %s", tree, problem)

    def _pass_down(self, tree: Path) -> None:
        """Give a new cgroup of version 2 the controllers of the level above, from the top down."""
        for parent in reversed(tree.parents):
            if parent == self._root or self._root in parent.parents:
                known = (parent / "cgroup.controllers").read_text().split()
                used = (parent / "cgroup.subtree_control").read_text().split()
                for controller in (name for name in _CONTROLLERS if name in known and name not in used):
                    with contextlib.suppress(OSError):
                        (parent / "cgroup.subtree_control").write_text(f"+{controller}")

    def _inherit_cpuset(self, tree: Path) -> None:
        """An empty cpuset of version 1 takes no process."""
        for parent in reversed([tree, *tree.parents]):
            if self._root not in parent.parents or not (parent / "cpuset.cpus").exists():
                continue
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not (parent / name).read_text().strip():
                    (parent / name).write_text((parent.parent / name).read_text())

    def _write(self, tree: Path, v1: dict[str, str], v2: dict[str, str]) -> None:
        for name, value in (v2 if self.v2 else v1).items():
            try:
                (tree / name).write_text(value)
            except OSError as problem:
                log.debug("cannot write %s to %s: %s", value, tree / name, problem)
