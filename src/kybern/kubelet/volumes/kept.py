"""The volumes of all pods of the node: made before containers start, kept fresh, removed after the pod's end.

What holds: nothing is ever removed below a mount (a directory that still is one stays, and is tried again); the
directories of pods that no one knows any more, left behind by a kubelet that was killed, are found by ``orphans``.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod, Volume
from kybern.daemon import descent, mounts
from kybern.kubelet.aside import Aside
from kybern.kubelet.csi import growth
from kybern.kubelet.fields import Place
from kybern.kubelet.volumes import VOLUMES, csi, kernel
from kybern.kubelet.volumes.claims import NotProcessed, bound, claim_of
from kybern.kubelet.volumes.plugin import CannotMount, Drivers, LimitReached, Objects, Plugin, Site

log = logging.getLogger(__name__)

# How long an unmount is waited for, before others of the pod are tried again.
_PATIENCE = 30.0


class Failed(Exception):
    """Some volumes could not be set up: the reason and the text that are told of each."""

    def __init__(self, told: Iterable[tuple[str, str]], limit: str = "") -> None:
        """``limit``: why the pod can have its volumes on another node only."""
        self.told = tuple(told)
        self.limit = limit
        super().__init__("; ".join(text for _reason, text in self.told))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A persistent volume that a pod uses: its claim's name, and where it is shown."""

    site: Site
    claim: str
    path: Path


def plugin_of(volume: Volume | PersistentVolumeSpec) -> Plugin | None:
    """By what a volume is set up; None for a claim, and for what is not supported."""
    return next((plugin for plugin in VOLUMES if getattr(volume, plugin.field, None) is not None), None)


def only_read(pod: Pod) -> frozenset[str]:
    """The volumes of a pod that no container may write into, by name."""
    found = ((volume.name, plugin_of(volume)) for volume in pod.spec.volumes)
    return frozenset(name for name, plugin in found if plugin is not None and plugin.only_read)


def _known(plugin: Plugin | None) -> Plugin:
    if plugin is None:
        raise CannotMount("no volume plugin matched")
    return plugin


class Kept:
    """Sets volumes up below ``root`` (upstream's --root-dir)."""

    def __init__(self, root: Path, objects: Objects, drivers: Drivers | None = None) -> None:
        self.root = root
        self._aside = Aside()
        self._drivers = drivers
        # Claims by the pod's uid whose volumes change: drivers that ask for it (requiresRepublish).
        self._again: dict[str, set[str]] = {}
        self._objects = objects
        # What pods have by claims: by the pod's uid and the volume's name in it.
        self.claimed: dict[str, dict[str, Claimed]] = {}

    def home(self, uid: str) -> Path:
        """The pod's own directory."""
        return self.root / "pods" / uid

    async def set_up(self, pod: Pod, place: Place) -> Mapping[str, Path]:
        """All volumes of a pod; the path of each by its name. Raises Failed."""
        return await self._make(pod, place, pod.spec.volumes)

    async def refresh(self, pod: Pod, place: Place) -> None:
        """Write those again whose content may have changed. Raises Failed."""
        changing = [
            volume
            for volume in pod.spec.volumes
            if claim_of(pod, volume) in self._again.get(pod.metadata.uid, ())
            or ((plugin := plugin_of(volume)) is not None and plugin.changes)
        ]
        await self._make(pod, place, changing)
        for one in tuple(self.claimed.get(pod.metadata.uid, {}).values()):
            try:
                await self._look(one)
            except CannotMount as problem:
                log.warning("volume %s cannot grow: %s", one.site.directory.name, problem)

    async def _make(self, pod: Pod, place: Place, volumes: Iterable[Volume]) -> Mapping[str, Path]:
        found: dict[str, Path] = {}
        problems: list[tuple[str, str]] = []
        limit = ""
        for volume in volumes:
            try:
                found[volume.name] = await self._one(pod, place, volume)
            except NotProcessed as problem:
                name = volume.name
                text = (
                    f"Unable to attach or mount volumes: unmounted volumes=[{name}], unattached volumes=[], "
                    f"failed to process volumes=[{name}]: {problem}"
                )
                problems.append(("FailedMount", text))
            except (CannotMount, OSError, ValueError) as problem:
                limit = str(problem) if isinstance(problem, LimitReached) else limit
                name = (problem.volume if isinstance(problem, CannotMount) else "") or volume.name
                block = isinstance(problem, CannotMount) and problem.block
                reason, step = (
                    ("FailedMapVolume", "MapVolume.MapPodDevice")
                    if block
                    else ("FailedMount", "MountVolume.SetUp")
                )
                problems.append((reason, f'{step} failed for volume "{name}" : {problem}'))
        if problems:
            raise Failed(problems, limit)
        return found

    async def _one(self, pod: Pod, place: Place, volume: Volume) -> Path:
        if not claim_of(pod, volume):
            plugin = _known(plugin_of(volume))
            directory = self.home(pod.metadata.uid) / "volumes" / plugin.name / volume.name
            return await plugin.set_up(
                Site(pod, volume, directory, self._objects, place, drivers=self._drivers)
            )
        claim, persistent = await bound(self._objects, pod, volume)
        try:
            return await self._claimed(pod, place, volume, claim, persistent)
        except CannotMount as problem:
            problem.volume = persistent.metadata.name
            problem.block = persistent.spec.volume_mode == "Block"
            raise

    async def _claimed(
        self,
        pod: Pod,
        place: Place,
        volume: Volume,
        claim: PersistentVolumeClaim,
        persistent: PersistentVolume,
    ) -> Path:
        plugin, uid = _known(plugin_of(persistent.spec)), pod.metadata.uid
        if await self._changes(persistent):
            self._again.setdefault(uid, set()).add(claim.metadata.name)
        block = persistent.spec.volume_mode == "Block"
        make = plugin.map if block else plugin.set_up
        if make is None:
            raise CannotMount(f"no block volume mapper found for plugin {plugin.name.replace('~', '/')}")
        kind = "volumeDevices" if block else "volumes"
        directory = self.home(uid) / kind / plugin.name / persistent.metadata.name
        site = Site(pod, volume, directory, self._objects, place, persistent, self._drivers)
        path = await make(site)
        one = Claimed(site, claim.metadata.name, path)
        await self._grow(one, claim, persistent)
        self.claimed.setdefault(uid, {})[volume.name] = one
        return path

    async def _look(self, one: Claimed) -> None:
        """Whether a claim has come to ask for more; raises CannotMount."""
        claim = await self._objects.claim(one.site.pod.metadata.namespace, one.claim)
        persistent = one.site.persistent
        if claim is None or persistent is None or persistent.spec.csi is None:
            return
        found = await self._objects.persistent(persistent.metadata.name)
        if found is not None:
            await self._grow(one, claim, found)

    async def _grow(self, one: Claimed, claim: PersistentVolumeClaim, found: PersistentVolume) -> None:
        """Of volumes of drivers: no others grow on a node."""
        if self._drivers is not None and found.spec.csi is not None and growth.wanted(claim, found):
            await self._drivers.grow(one.site, one.claim, one.path)

    async def _changes(self, persistent: PersistentVolume) -> bool:
        """Whether a volume's driver asks to be asked again from time to time."""
        source = persistent.spec.csi
        info = await self._objects.csi_driver(source.driver) if source is not None else None
        return info is not None and bool(info.spec.requires_republish)

    async def remove(self, uid: str) -> None:
        """Take a pod's volumes and its directory away. Raises CannotMount when something is still in use."""
        home = self.home(uid)
        self._again.pop(uid, None)
        self.claimed.pop(uid, None)
        # Parts of a driver's volumes are bound elsewhere: those first, then the driver takes its own away.
        of_drivers = home / "volumes" / csi.PLUGIN.name
        for mounted in await asyncio.to_thread(_mounts_below, home):
            if of_drivers not in mounted.parents:
                await self._unmount(mounted)
        if self._drivers is not None:
            await self._drivers.tear_down(home)
        for mounted in await asyncio.to_thread(_mounts_below, home):
            await self._unmount(mounted)
        await asyncio.to_thread(_remove_tree, home)
        for plugin in VOLUMES:
            if plugin.tidy is not None:
                await plugin.tidy(self.root)

    async def _unmount(self, mounted: Path) -> None:
        """Raises CannotMount, also while a server does not answer: that is waited for aside, and asked once."""
        try:
            await self._aside.ask(mounted, lambda: kernel.unmount(mounted), _PATIENCE)
        except TimeoutError as problem:
            raise CannotMount(f"unmount of {mounted} does not end") from problem

    def known(self) -> frozenset[str]:
        """Uids of the pods that have a directory."""
        pods = self.root / "pods"
        return frozenset(path.name for path in pods.iterdir()) if pods.is_dir() else frozenset()


def _mounts_below(home: Path) -> list[Path]:
    """Mount points below a directory, the deepest first."""
    below = [one.point for one in mounts.mounts() if home in one.point.parents]
    return sorted(below, key=lambda path: len(path.parts), reverse=True)


def _remove_tree(home: Path) -> None:
    if _mounts_below(home):
        raise CannotMount(f"cannot remove {home}: something is mounted below it")
    descent.remove(home)
