"""Measuring what is in use: of the runtime, of the kernel, and of the trees that pods fill.

What holds: one question to the runtime for all pods (``asking``); trees are walked in a thread, and each at most once in
``FRESH`` seconds (upstream's volumeStatsAggPeriod); a rate of CPU is taken between two measurements that are a second or
more apart.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Pod, Volume
from kybern.kubelet import cgroup_names, labels, machine
from kybern.kubelet.aside import Aside
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.resources import cgroup_of
from kybern.kubelet.spec import log_directory
from kybern.kubelet.stats import cadvisor, counting, stalls, trees
from kybern.kubelet.stats.asking import Asking
from kybern.kubelet.stats.claimed import ClaimedVolumes
from kybern.kubelet.stats.counts import Counts
from kybern.kubelet.stats.system import System
from kybern.kubelet.stats.use import (
    ContainerUse,
    Cpu,
    Disk,
    Interface,
    Memory,
    NodeUse,
    PodUse,
    Stalls,
    SwapUse,
)
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.volumes.kept import plugin_of

log = logging.getLogger(__name__)

FRESH = 60.0
_APART = 1.0
_PATIENCE = 2.0
_NANO = 1e9


class Measure:
    """``pods`` are those of the node; ``fresh`` is how old the size of a tree may be, in seconds. ``clock`` is steady.

    ``system`` tells what the kubelet and its runtime use themselves.
    """

    def __init__(
        self,
        here: Surroundings,
        pods: Callable[[], Iterable[Pod]],
        fresh: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
        system: System | None = None,
    ) -> None:
        self._system = system
        self._clock = clock
        self._here = here
        self._pods = pods
        self._fresh = fresh
        self._asking = Asking(here.runtime)
        self.claimed = ClaimedVolumes(here.volumes, fresh)
        # With when it was walked, by the steady clock.
        self._trees: dict[Path, tuple[float, Disk]] = {}
        # Volumes of others, with when they were looked at.
        self._distant: dict[Path, tuple[float, Disk]] = {}
        self._aside = Aside()
        self._samples: dict[str, tuple[float, int, int | None]] = {}
        self._image_directory: Path | None = None

    @property
    def root(self) -> Path:
        """A path on the node's own disk."""
        return self._here.volumes.root

    async def take(self) -> NodeUse:
        """Measure everything; raises RuntimeFailure, OSError."""
        stats = await self._asking.all()
        images = await self._images()
        pods = {pod.metadata.uid: pod for pod in self._pods()}
        await self._look_afar(pods.values())
        found = await asyncio.to_thread(self._all, stats, pods, images)
        self._forget(found)
        return found

    async def _look_afar(self, pods: Iterable[Pod]) -> None:
        """Volumes of which a server or a driver may not answer: for those nobody waits long, and once at a time."""
        places = {self._place(pod, v) for pod in pods for v in pod.spec.volumes if _afar(v)}
        self._distant = {place: found for place, found in self._distant.items() if place in places}
        due = [
            place
            for place in places
            if place not in self._distant or self._clock() - self._distant[place][0] >= self._fresh
        ]
        if due:
            await asyncio.gather(*map(self._ask_afar, due))

    async def _ask_afar(self, place: Path) -> None:
        try:
            found = await self._aside.ask(place, lambda: _whole(place), _PATIENCE)
        except (OSError, TimeoutError) as problem:
            log.debug("cannot measure the volume at %s: %s", place, problem)
            found = Disk(time.time())
        self._distant[place] = (self._clock(), found)

    def _place(self, pod: Pod, volume: Volume) -> Path:
        plugin = plugin_of(volume)
        assert plugin is not None
        return self._here.volumes.home(pod.metadata.uid) / "volumes" / plugin.name / volume.name

    async def count(self, found: NodeUse) -> tuple[cadvisor.Host, Mapping[str, Counts]]:
        """What the kernel counts of all that was measured, by the cgroup; and the machine."""
        return await asyncio.to_thread(self._count, found)

    def _count(self, found: NodeUse) -> tuple[cadvisor.Host, Mapping[str, Counts]]:
        counts = counting.counts_of(found, self._here.cgroups)
        return counting.host(counts, self.root, self._image_directory or self.root), counts

    async def _images(self) -> Disk:
        try:
            answer = await self._here.runtime.call_images("ImageFsInfo", pb.ImageFsInfoRequest())
        except RuntimeFailure:
            return Disk(time.time())
        if not answer.image_filesystems:
            return Disk(time.time())
        found = answer.image_filesystems[0]
        directory = Path(found.fs_id.mountpoint)
        self._image_directory = directory if await asyncio.to_thread(directory.exists) else None
        return Disk(found.timestamp / _NANO, found.used_bytes.value, found.inodes_used.value)

    def _all(self, stats: Iterable[Any], pods: Mapping[str, Pod], images: Disk) -> NodeUse:
        root = self._here.volumes.root
        where = self._image_directory or root
        memory, now = machine.memory(), time.time()
        processes, most = machine.processes()
        booted = machine.booted()
        return NodeUse(
            name=self._here.machine.node,
            time=now,
            booted=booted,
            cpu=self._rated("", Cpu(now, machine.busy())),
            memory=memory,
            memory_capacity=memory.working_set + (memory.available or 0),
            fs=trees.file_system(root),
            image_fs=trees.file_system(where),
            images=images,
            dedicated_image_fs=where.stat().st_dev != root.stat().st_dev,
            processes=processes,
            most_processes=most,
            system=tuple(self._system.take(booted, self._rated)) if self._system else (),
            swap=machine.swap(),
            stalls=self._stalls("/"),
            interfaces=machine.interfaces(),
            pods=tuple(self._pod(found, pods.get(found.attributes.metadata.uid)) for found in stats),
        )

    def _pod(self, found: Any, pod: Pod | None) -> PodUse:
        meta, linux = found.attributes.metadata, found.linux
        volumes = {v.name: self._volume(pod, v) for v in pod.spec.volumes if _measured(v)} if pod else {}
        cgroup = cgroup_of(pod, self._here.machine.cgroup_root) if pod else ""
        return PodUse(
            uid=meta.uid,
            name=meta.name,
            namespace=meta.namespace,
            started=_started(pod),
            cgroup=cgroup,
            stalls=self._stalls(cgroup),
            cpu=self._cpu(found.attributes.id, linux.cpu),
            memory=_memory(linux.memory),
            interfaces=tuple(_interfaces(linux.network)),
            processes=linux.process.process_count.value,
            containers=tuple(self._container(one, pod, cgroup) for one in linux.containers),
            volumes=volumes,
            local=frozenset(v.name for v in pod.spec.volumes if _local(v)) if pod else frozenset(),
            claims={name: one.claim for name, one in self._here.volumes.claimed.get(meta.uid, {}).items()},
            claimed=self.claimed.of(meta.uid),
            other=self._tree(self._here.volumes.home(meta.uid) / "etc-hosts"),
            sandbox=found.attributes.id,
        )

    def _stalls(self, cgroup: str) -> Mapping[str, Stalls]:
        return stalls.read(self._here.cgroups.path(cgroup)) if cgroup and self._here.cgroups.v2 else {}

    def _container(self, found: Any, pod: Pod | None, cgroup: str) -> ContainerUse:
        name = found.attributes.labels.get(labels.CONTAINER_NAME, "")
        layer = found.writable_layer
        directory = Path(log_directory(pod, self._here.machine.log_root), name) if pod else None
        return ContainerUse(
            name=name,
            id=found.attributes.id,
            started=_started_of(pod, found.attributes.id),
            cpu=self._cpu(found.attributes.id, found.cpu),
            memory=_memory(found.memory),
            rootfs=Disk(layer.timestamp / _NANO, layer.used_bytes.value, layer.inodes_used.value),
            logs=trees.tree(directory) if directory else Disk(),
            image=found.attributes.annotations.get("io.kubernetes.cri.image-name", ""),
            swap=_swap(found.swap),
            stalls=self._stalls(cgroup_names.of_container(cgroup, found.attributes.id)),
        )

    def _volume(self, pod: Pod, volume: Volume) -> Disk:
        directory = self._place(pod, volume)
        if _afar(volume):
            return self._distant.get(directory, (0.0, Disk(time.time())))[1]
        return self._tree(directory) if _local(volume) else _whole(directory, self._tree)

    def _tree(self, root: Path) -> Disk:
        known, now = self._trees.get(root), self._clock()
        if known is None or now - known[0] >= self._fresh:
            known = self._trees[root] = (now, trees.tree(root))
        return known[1]

    def _cpu(self, key: str, found: Any) -> Cpu | None:
        if not found.timestamp:
            return None
        return self._rated(key, Cpu(found.timestamp / _NANO, found.usage_core_nano_seconds.value))

    def _rated(self, key: str, now: Cpu) -> Cpu:
        """With the rate since the sample before; a counter or a clock that began anew has none yet."""
        before = self._samples.get(key)
        if before is not None and 0 <= now.time - before[0] < _APART:
            return Cpu(now.time, now.total, before[2])
        rate = None
        if before is not None and now.total >= before[1] and now.time > before[0]:
            rate = int((now.total - before[1]) / (now.time - before[0]))
        self._samples[key] = (now.time, now.total, rate)
        return Cpu(now.time, now.total, rate)

    def _forget(self, found: NodeUse) -> None:
        """What is not there any more is not kept."""
        long = 10 * max(self._fresh, _APART)
        self._samples = {
            key: value for key, value in self._samples.items() if abs(found.time - value[0]) < long
        }
        old = self._clock() - long
        self._trees = {key: value for key, value in self._trees.items() if value[0] > old}


def _measured(volume: Volume) -> bool:
    plugin = plugin_of(volume)
    return plugin is not None and volume.host_path is None and volume.image is None


def _whole(directory: Path, otherwise: Callable[[Path], Disk] = trees.tree) -> Disk:
    """Of a file system that is the volume's alone. Blocking."""
    return trees.mounted(directory) if directory.is_mount() else otherwise(directory)


def _afar(volume: Volume) -> bool:
    """Whether what is mounted there is somebody else's, who may not answer."""
    return volume.nfs is not None or volume.iscsi is not None or volume.csi is not None


def _local(volume: Volume) -> bool:
    """Whether it is on the node's own disk."""
    disk = volume.empty_dir is not None and volume.empty_dir.medium != "Memory"
    return disk or volume.config_map is not None or volume.downward_api is not None


def _started(pod: Pod | None) -> float:
    return pod.status.start_time.timestamp() if pod is not None and pod.status.start_time else 0.0


def _started_of(pod: Pod | None, identity: str) -> float:
    """When a container started, as the pod's status has it."""
    if pod is None:
        return 0.0
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        running = status.state.running if status.state is not None else None
        if status.container_id.endswith(identity) and running is not None and running.started_at:
            return running.started_at.timestamp()
    return 0.0


def _memory(found: Any) -> Memory | None:
    if not found.timestamp:
        return None
    return Memory(
        found.timestamp / _NANO, found.usage_bytes.value, found.working_set_bytes.value, found.rss_bytes.value,
        found.page_faults.value, found.major_page_faults.value, found.available_bytes.value or None,
    )  # fmt: skip


def _swap(found: Any) -> SwapUse | None:
    if not found.timestamp:
        return None
    available = found.swap_available_bytes.value if found.HasField("swap_available_bytes") else None
    return SwapUse(found.timestamp / _NANO, found.swap_usage_bytes.value, available)


def _interfaces(found: Any) -> Iterable[Interface]:
    for one in (found.default_interface, *found.interfaces):
        if one.name:
            yield Interface(
                one.name, one.rx_bytes.value, one.rx_errors.value, one.tx_bytes.value, one.tx_errors.value
            )
