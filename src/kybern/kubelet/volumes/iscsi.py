"""A LUN of an iSCSI target, as a file system or as a device. The node needs open-iscsi.

    ROOT/plugins/kubernetes.io/iscsi/iface-IFACE/PORTAL-IQN-lun-N                  its file system, once a node
    ROOT/plugins/kubernetes.io/iscsi/volumeDevices/iface-IFACE/PORTAL-IQN-lun-N    the same for devices
    .../PORTAL-IQN-lun-N.json                                                      what it is, to take it back by

What holds: the record is there before anything is asked of the target, so that a kubelet which was killed takes back all
that it did; a session ends with the last pod that uses any LUN of its target.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from kybern.api.core_v1 import ISCSIPersistentVolumeSource, ISCSIVolumeSource
from kybern.daemon import mounts
from kybern.daemon.files import replace_file
from kybern.kubelet.volumes import file_system, kernel, payload, programs
from kybern.kubelet.volumes.file_system import Run
from kybern.kubelet.volumes.open_iscsi import OpenIscsi, Target
from kybern.kubelet.volumes.ownership import own_tree
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site

_BASE = Path("plugins/kubernetes.io/iscsi")
_NAME = "kubernetes.io~iscsi"
_PORT = "3260"
_NAMED = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:_\[\]-]*")


def source_of(site: Site) -> ISCSIVolumeSource | ISCSIPersistentVolumeSource:
    found = site.persistent.spec.iscsi if site.persistent is not None else site.volume.iscsi
    assert found is not None
    return found


def target_of(source: ISCSIVolumeSource | ISCSIPersistentVolumeSource) -> Target:
    """What is wanted, without its secrets. Raises CannotMount. Pure."""
    if source.initiator_name:
        raise CannotMount("iscsi: an initiatorName of a volume's own is not supported; set the node's")
    if source.lun is None or not source.iqn or not source.target_portal:
        raise CannotMount("iscsi: targetPortal, iqn and lun are needed")
    for text in (source.iqn, source.iscsi_interface or "default", source.target_portal, *source.portals):
        # They become names of files and words of commands.
        if not _NAMED.fullmatch(text):
            raise CannotMount(f'iscsi: "{text}" is no name of a target, an interface or a portal')
    portals = dict.fromkeys(_with_port(one) for one in (source.target_portal, *source.portals))
    return Target(
        tuple(portals), source.iqn, source.lun, source.iscsi_interface or "default",
        bool(source.chap_auth_discovery), bool(source.chap_auth_session),
    )  # fmt: skip


def _with_port(portal: str) -> str:
    has = "]:" in portal if portal.startswith("[") else ":" in portal
    return portal if has else f"{portal}:{_PORT}"


def global_path(root: Path, target: Target, *, device: bool) -> Path:
    """Where a LUN is for the whole node; its record lies beside it. Pure."""
    base = root / _BASE / "volumeDevices" if device else root / _BASE
    return base / f"iface-{target.interface}" / f"{target.portals[0]}-{target.iqn}-lun-{target.lun}"


class Disks:
    """One lock a target: pods come and go at the same time."""

    def __init__(self, iscsi: OpenIscsi | None = None, run: Run = programs.run) -> None:
        self._iscsi = iscsi or OpenIscsi()
        self._run = run
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def set_up(self, site: Site) -> Path:
        source, root = source_of(site), site.directory.parents[4]
        target = target_of(source)
        only = ("ro",) if source.read_only or site.read_only else ()
        async with self._turns[target.iqn]:
            if await asyncio.to_thread(kernel.is_mounted, site.directory):
                return site.directory
            whole = global_path(root, target, device=False)
            await self._mounted(site, target, whole, only)
            await asyncio.to_thread(site.directory.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(kernel.mount, str(whole), site.directory, "none", ("bind", *only))
        if site.fs_group is not None and not only:
            await asyncio.to_thread(own_tree, site.directory, site.fs_group, site.fs_group_policy)
        return site.directory

    async def _mounted(self, site: Site, target: Target, whole: Path, only: tuple[str, ...]) -> None:
        if await asyncio.to_thread(kernel.is_mounted, whole):
            return
        device = await self._attached(site, target, whole)
        options = site.persistent.spec.mount_options if site.persistent is not None else ()
        kind = source_of(site).fs_type or "ext4"
        await file_system.mounted(self._run, device, whole, kind, (*only, *options))

    async def _attached(self, site: Site, target: Target, whole: Path) -> Path:
        secrets = await _secrets(site) if target.chap_discovery or target.chap_session else ()
        await asyncio.to_thread(_note, whole, target)
        paths = await self._iscsi.attach(replace(target, secrets=secrets))
        return await self._iscsi.multipath(paths)

    async def map(self, site: Site) -> Path:
        target = target_of(source_of(site))
        async with self._turns[target.iqn]:
            whole = global_path(site.directory.parents[4], target, device=True)
            device = await self._attached(site, target, whole)
            await asyncio.to_thread(_link, device, site.directory, whole)
        return site.directory

    async def tidy(self, root: Path) -> None:
        """Take back what no pod uses any more. Raises CannotMount."""
        for record in await asyncio.to_thread(lambda: list(_records(root))):
            target = await asyncio.to_thread(_read, record)
            if target is None:
                continue
            async with self._turns[target.iqn]:
                if record.exists() and not await asyncio.to_thread(_is_used, root, record):
                    await self._release(root, record, target)

    async def _release(self, root: Path, record: Path, target: Target) -> None:
        whole = record.with_suffix("")
        await asyncio.to_thread(kernel.unmount, whole)
        await self._iscsi.remove(target)
        rest = [other for other in _records(root) if other != record]
        if not any(found is not None and found.iqn == target.iqn for found in map(_read, rest)):
            await self._iscsi.log_out(target)
        await asyncio.to_thread(_forget, record)


async def _secrets(site: Site) -> tuple[tuple[str, str], ...]:
    """Of a Secret of type kubernetes.io/iscsi-chap; raises CannotMount."""
    reference = source_of(site).secret_ref
    if reference is None:
        raise CannotMount("iscsi: CHAP is wanted, and there is no secretRef")
    namespace = getattr(reference, "namespace", "") or site.pod.metadata.namespace
    found = await site.objects.secret(namespace, reference.name)
    if found is None:
        raise CannotMount(f'failed to get secret from ["{namespace}/{reference.name}"]: not found')
    values = payload.of_secret(found)
    return tuple((name, values[name].decode(errors="replace").strip()) for name in sorted(values))


def _records(root: Path) -> Iterator[Path]:
    base = root / _BASE
    for pattern in ("iface-*/*.json", "volumeDevices/iface-*/*.json"):
        yield from sorted(base.glob(pattern))


def _note(whole: Path, target: Target) -> None:
    record = whole.with_name(f"{whole.name}.json")
    whole.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    replace_file(record, json.dumps({**asdict(target), "secrets": []}).encode())


def _read(record: Path) -> Target | None:
    try:
        raw = json.loads(record.read_text())
        return Target(**{**raw, "portals": tuple(raw["portals"]), "secrets": ()})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_used(root: Path, record: Path) -> bool:
    """Whether a pod shows it: by a mount of the same file system, or by a link to the same place."""
    whole, pods = record.with_suffix(""), root / "pods"
    if "volumeDevices" in record.parts:
        return any(_leads(link, whole) for link in pods.glob(f"*/volumeDevices/{_NAME}/*"))
    found = list(mounts.mounts())
    device = next((one.device for one in found if one.point == whole), None)
    return device is not None and any(one.device == device and pods in one.point.parents for one in found)


def _leads(link: Path, whole: Path) -> bool:
    return link.is_symlink() and link.readlink() == whole


def _link(device: Path, link: Path, whole: Path) -> None:
    """The pod's link leads to the node's, and that to the device: so it is seen who uses what."""
    for name, to in ((whole, device), (link, whole)):
        name.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if name.is_symlink() and name.readlink() == to:
            continue
        name.unlink(missing_ok=True)
        name.symlink_to(to)


def _forget(record: Path) -> None:
    whole = record.with_suffix("")
    if whole.is_symlink():
        whole.unlink()
    elif whole.is_dir():
        whole.rmdir()
    record.unlink(missing_ok=True)


_DISKS = Disks()
PLUGIN = Plugin(_NAME, "iscsi", _DISKS.set_up, map=_DISKS.map, tidy=_DISKS.tidy)
