"""Staging and publishing volumes, and taking them back.

What holds: a volume is staged once a node, before it is published to the first pod, and unstaged after the last; its record
is on disk before a driver is asked, so that a kubelet which was killed takes back all that it asked for. What is published
already is not asked for again, so running pods need no driver when the kubelet starts again.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kybern.api.core_v1 import PersistentVolume, ServiceAccountTokenProjection
from kybern.api.storage_v1 import CSIDriver
from kybern.kubelet.csi import names, wanted
from kybern.kubelet.csi.blocks import Blocks
from kybern.kubelet.csi.driver import STAGES, STATISTICS, Driver, Use
from kybern.kubelet.csi.expander import Expander
from kybern.kubelet.csi.names import Record
from kybern.kubelet.csi.wanted import Wanted
from kybern.kubelet.voice import Tell
from kybern.kubelet.volumes import kernel
from kybern.kubelet.volumes.ownership import own_tree
from kybern.kubelet.volumes.plugin import CannotMount, LimitReached, Site

_HOUR = 3600
# Of gRPC, as the attacher writes it down.
_RESOURCE_EXHAUSTED = 8


class Mounter:
    """``root`` is --root-dir, ``node`` this node's name; ``tell`` says something of an object.

    Drivers come by ``registry``.
    """

    def __init__(self, root: Path, node: str, tell: Tell) -> None:
        self._blocks = Blocks(root)
        self._expander = Expander(node, tell)
        self._root = root
        self._node = node
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self.drivers: dict[str, Driver] = {}
        self.full: set[str] = set()
        """Drivers whose volumes the node could not take any more, until they are asked how many it takes."""

    def _driver(self, name: str) -> Driver:
        found = self.drivers.get(name)
        if found is None:
            raise CannotMount(
                "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: "
                f"driver name {name} not found in the list of registered CSI drivers"
            )
        return found

    def _turn(self, driver: str, handle: str) -> asyncio.Lock:
        return self._turns.setdefault((driver, handle), asyncio.Lock())

    async def set_up(self, site: Site) -> Path:
        """Have a volume at the pod's directory; raises CannotMount."""
        found = (
            wanted.of_persistent(site.persistent, read_only=site.read_only)
            if site.persistent is not None
            else wanted.of_inline(site.pod, site.volume)
        )
        info = await site.objects.csi_driver(found.driver)
        if found.block:
            return await self._map(site, found, info)
        where = site.directory / "mount"
        again = info is not None and bool(info.spec.requires_republish)
        if not again and await asyncio.to_thread(_is_published, site.directory, where):
            return where
        wanted.check_mode(found, info)
        async with self._turn(found.driver, found.handle):
            await self._publish(site, found, info, where)
        return where

    async def _map(self, site: Site, found: Wanted, info: CSIDriver | None) -> Path:
        """Have a device for the pod's containers."""
        uid = site.pod.metadata.uid
        if not await asyncio.to_thread(self._blocks.is_there, found.name, uid):
            async with self._turn(found.driver, found.handle):
                driver = self._driver(found.driver)
                attachment, published = await self._attached(site, found, info)
                record = Record(found.driver, found.handle, found.name, self._node, True, attachment)
                await self._blocks.publish(site, found, driver, (record, published))
        return self._blocks.link(uid, found.name)

    async def _publish(self, site: Site, found: Wanted, info: CSIDriver | None, where: Path) -> None:
        driver = self._driver(found.driver)
        abilities = await driver.abilities()
        attachment, published = await self._attached(site, found, info)
        record = Record(found.driver, found.handle, found.name, self._node, found.persistent, attachment)
        await asyncio.to_thread(names.write, site.directory, record)
        capable = wanted.capability(found, abilities, site.fs_group)
        staged: Path | None = None
        if found.persistent and STAGES in abilities:
            secrets = await wanted.secret(site.objects, found.stage_secret)
            use = Use(found.handle, capable, found.read_only, published, dict(found.attributes), secrets)
            staged = await self._stage(driver, record, use)
        tokens = wanted.tokens(await _tokens(site, info))
        secret = bool(info is not None and info.spec.service_account_token_in_secrets)
        context = wanted.context(found, info, site.pod) | ({} if secret else tokens)
        secrets = await wanted.secret(site.objects, found.publish_secret) | (tokens if secret else {})
        use = Use(found.handle, capable, found.read_only, published, context, secrets)
        await driver.publish(use, where, staged)
        if site.fs_group is not None and wanted.gives_group(found, info, abilities):
            await asyncio.to_thread(own_tree, where, site.fs_group, site.fs_group_policy)

    async def _attached(
        self, site: Site, found: Wanted, info: CSIDriver | None
    ) -> tuple[str, dict[str, str]]:
        """The attachment's name and what its controller says; empty for a driver without attachments."""
        if not wanted.needs_attachment(found, info):
            return "", {}
        name = names.attachment_name(found.handle, found.driver, self._node)
        attachment = await site.objects.attachment(name)
        if attachment is None or not attachment.status.attached:
            error = attachment.status.attach_error if attachment is not None else None
            if error is not None and error.error_code == _RESOURCE_EXHAUSTED:
                self.full.add(found.driver)
                text = f"Node has reached its volume attachment limit for {found.driver}: {error.message}"
                raise LimitReached(text)
            why = f": {error.message}" if error is not None else ""
            raise CannotMount(f"volume {found.handle} is not attached to node {self._node} yet{why}")
        return name, dict(attachment.status.attachment_metadata)

    async def _stage(self, driver: Driver, record: Record, use: Use) -> Path:
        directory = names.staging(self._root, record.driver, record.handle)
        where = directory / "globalmount"
        await asyncio.to_thread(where.mkdir, 0o750, parents=True, exist_ok=True)
        await asyncio.to_thread(names.write, directory, record)
        await driver.stage(use, where)
        return where

    async def grow(self, site: Site, claim: str, where: Path) -> None:
        """Enlarge a volume that is shown at ``where`` if its claim is to have more; raises CannotMount."""
        if site.persistent is None:
            return
        found = wanted.of_persistent(site.persistent, read_only=site.read_only)
        driver = self.drivers.get(found.driver)
        if driver is None:
            # What is published needs no driver to go on; it is looked at again in a while.
            return
        async with self._turn(found.driver, found.handle):
            staged = await self._staged(driver, found)
            await self._expander.grow(site, claim, driver, where, staged)

    async def _staged(self, driver: Driver, found: Wanted) -> Path | None:
        """Where a volume is staged; None with a driver that does not."""
        if STAGES not in await driver.abilities():
            return None
        if found.block:
            return self._blocks.staging(found.name)
        return names.staging(self._root, driver.name, found.handle) / "globalmount"

    async def statistics(self, volume: PersistentVolume, where: Path) -> Any:
        """What the driver says of a volume's use; None where it says nothing. Raises CannotMount."""
        found = wanted.of_persistent(volume, read_only=False)
        driver = self.drivers.get(found.driver)
        if driver is None or STATISTICS not in await driver.abilities():
            return None
        return await driver.statistics(found.handle, where, await self._staged(driver, found))

    async def tear_down(self, home: Path) -> None:
        """Take back all volumes of a pod; raises CannotMount when a driver cannot, or is not there."""
        for directory, record in await asyncio.to_thread(lambda: list(names.of_pod(home))):
            async with self._turn(record.driver, record.handle):
                await self._driver(record.driver).unpublish(record.handle, directory / "mount")
                await asyncio.to_thread(_forget, directory)
                await self._unstage(record)
        for record in await asyncio.to_thread(lambda: list(self._blocks.of_pod(home))):
            async with self._turn(record.driver, record.handle):
                await self._blocks.unpublish(record, home.name, self._driver(record.driver))

    async def _unstage(self, record: Record) -> None:
        """Once no pod uses it."""
        directory = names.staging(self._root, record.driver, record.handle)
        if not record.persistent or await asyncio.to_thread(names.read, directory) is None:
            return
        if await asyncio.to_thread(self._used, record):
            return
        await self._driver(record.driver).unstage(record.handle, directory / "globalmount")
        await asyncio.to_thread(_forget, directory)

    def _used(self, record: Record) -> bool:
        key = (record.driver, record.handle)
        return any((each.driver, each.handle) == key for each in names.of_pods(self._root))

    async def tidy(self) -> None:
        """Unstage what a kubelet that was killed left behind; raises CannotMount."""
        for _directory, record in await asyncio.to_thread(lambda: list(names.staged(self._root))):
            if record.driver in self.drivers:
                async with self._turn(record.driver, record.handle):
                    await self._unstage(record)
        for record in await asyncio.to_thread(lambda: list(self._blocks.all())):
            driver = self.drivers.get(record.driver)
            if driver is not None:
                async with self._turn(record.driver, record.handle):
                    await self._blocks.unstage(record, driver)

    def in_use(self) -> tuple[str, ...]:
        """Attached volumes that pods use, or that are staged still, as the node's status names them. Blocking."""
        return tuple(sorted(set(self._in_use())))

    def _in_use(self) -> Iterator[str]:
        staged = (record for _directory, record in names.staged(self._root))
        every = (*names.of_pods(self._root), *staged, *self._blocks.all())
        yield from (names.unique_name(each.driver, each.handle) for each in every if each.attachment)


def _is_published(directory: Path, where: Path) -> bool:
    return names.read(directory) is not None and kernel.is_mounted(where)


def _forget(directory: Path) -> None:
    kernel.unmount(directory / "mount")
    names.forget(directory)


async def _tokens(site: Site, info: CSIDriver | None) -> dict[str, str]:
    asked = info.spec.token_requests if info is not None else ()
    return {
        one.audience: await site.objects.token(
            site.pod,
            ServiceAccountTokenProjection(
                audience=one.audience, expiration_seconds=one.expiration_seconds or _HOUR
            ),
        )
        for one in asked
    }
