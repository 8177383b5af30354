"""Volumes that are devices (volumeMode Block): staged and published by their drivers, shown to containers by a link.

    ROOT/plugins/kubernetes.io/csi/volumeDevices/PV/data/vol_data.json    what is there, written before a driver is asked
    ROOT/plugins/kubernetes.io/csi/volumeDevices/staging/PV               given to the driver to stage at
    ROOT/plugins/kubernetes.io/csi/volumeDevices/publish/PV/UID           where it shows the device for a pod
    ROOT/pods/UID/volumeDevices/kubernetes.io~csi/PV -> publish/PV/UID    what containers are given

The places are upstream's (pkg/volume/csi/csi_block.go). What holds is what holds of mounts (``mounter.py``): the link and
the record are there before a driver is asked, so that a kubelet which was killed takes back all that it asked for.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from kybern.kubelet.csi import names, wanted
from kybern.kubelet.csi.driver import STAGES, Driver, Use
from kybern.kubelet.csi.names import Record
from kybern.kubelet.csi.wanted import Wanted
from kybern.kubelet.volumes.plugin import Site

_DEVICES = "plugins/kubernetes.io/csi/volumeDevices"
_OF_POD = "volumeDevices/kubernetes.io~csi"


class Blocks:
    """``root`` is --root-dir. Callers see to it that one of them at a time works on a volume."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._base = root / _DEVICES

    def staging(self, name: str) -> Path:
        return self._base / "staging" / name

    def published(self, name: str, uid: str) -> Path:
        return self._base / "publish" / name / uid

    def link(self, uid: str, name: str) -> Path:
        """What containers of a pod are given."""
        return self._root / "pods" / uid / _OF_POD / name

    def is_there(self, name: str, uid: str) -> bool:
        return self.link(uid, name).is_symlink() and self.published(name, uid).is_block_device()

    async def publish(
        self, site: Site, found: Wanted, driver: Driver, attached: tuple[Record, dict[str, str]]
    ) -> None:
        """Stage and publish a device for a pod; raises CannotMount."""
        record, published = attached
        abilities, uid = await driver.abilities(), site.pod.metadata.uid
        where = self.published(found.name, uid)
        await asyncio.to_thread(self._prepare, record, uid)
        capable = wanted.capability(found, abilities, None)
        staged = None
        if STAGES in abilities:
            staged = self.staging(found.name)
            await asyncio.to_thread(staged.mkdir, 0o750, parents=True, exist_ok=True)
            secrets = await wanted.secret(site.objects, found.stage_secret)
            use = Use(found.handle, capable, found.read_only, published, dict(found.attributes), secrets)
            await driver.stage(use, staged)
        info = await site.objects.csi_driver(found.driver)
        context = wanted.context(found, info, site.pod)
        secrets = await wanted.secret(site.objects, found.publish_secret)
        use = Use(found.handle, capable, found.read_only, published, context, secrets)
        await driver.publish(use, where, staged)

    def _prepare(self, record: Record, uid: str) -> None:
        names.write(self._base / record.name / "data", record)
        where, link = self.published(record.name, uid), self.link(uid, record.name)
        for directory in (where.parent, link.parent):
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(where)

    def of_pod(self, home: Path) -> Iterator[Record]:
        """The devices of one pod."""
        for link in sorted((home / _OF_POD).glob("*")):
            record = names.read(self._base / link.name / "data")
            if record is not None:
                yield record

    def all(self) -> Iterator[Record]:
        """Of all volumes that are staged or published on the node."""
        for directory in sorted(self._base.glob("*/data")):
            record = names.read(directory)
            if record is not None:
                yield record

    async def unpublish(self, record: Record, uid: str, driver: Driver) -> None:
        """Take a device back from a pod, and from the node after the last one; raises CannotMount."""
        where = self.published(record.name, uid)
        await driver.unpublish(record.handle, where)
        await asyncio.to_thread(self._forget, record.name, uid)
        await self.unstage(record, driver)

    def _forget(self, name: str, uid: str) -> None:
        where = self.published(name, uid)
        where.unlink(missing_ok=True)
        if where.parent.is_dir() and not any(where.parent.iterdir()):
            where.parent.rmdir()
        self.link(uid, name).unlink(missing_ok=True)

    async def unstage(self, record: Record, driver: Driver) -> None:
        """Once no pod uses it: none that is on the node has a link to it."""
        if await asyncio.to_thread(self._is_used, record.name):
            return
        if STAGES in await driver.abilities():
            await driver.unstage(record.handle, self.staging(record.name))
        await asyncio.to_thread(self._clear, record.name)

    def _is_used(self, name: str) -> bool:
        return any((self._root / "pods").glob(f"*/{_OF_POD}/{name}"))

    def _clear(self, name: str) -> None:
        staged = self.staging(name)
        if staged.is_dir():
            staged.rmdir()
        names.forget(self._base / name / "data")
        (self._base / name).rmdir()
