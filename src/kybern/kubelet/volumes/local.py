"""A directory of this node that is a persistent volume (``local``): shown below the pod by a bind."""

import asyncio
from pathlib import Path

from kybern.kubelet.volumes import kernel
from kybern.kubelet.volumes.ownership import own_tree
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site


async def _set_up(site: Site) -> Path:
    assert site.persistent is not None
    source = site.persistent.spec.local
    assert source is not None
    await asyncio.to_thread(_bind, Path(source.path), site.directory)
    if site.fs_group is not None and not site.read_only:
        await asyncio.to_thread(own_tree, site.directory, site.fs_group, site.fs_group_policy)
    return site.directory


def _bind(path: Path, directory: Path) -> None:
    if not path.exists():
        raise CannotMount(f'path "{path}" does not exist')
    if path.is_block_device():
        raise CannotMount(f'path "{path}" is a block device: its volume must have the volumeMode Block')
    directory.mkdir(parents=True, exist_ok=True)
    if not kernel.is_mounted(directory):
        kernel.mount(str(path), directory, "none", ("bind",))


async def _map(site: Site) -> Path:
    assert site.persistent is not None
    source = site.persistent.spec.local
    assert source is not None
    await asyncio.to_thread(_link, Path(source.path), site.directory)
    return site.directory


def _link(path: Path, link: Path) -> None:
    if not path.is_block_device():
        raise CannotMount(f'path "{path}" is not a block device')
    if link.is_symlink() and link.readlink() == path:
        return
    link.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(path)


PLUGIN = Plugin("kubernetes.io~local-volume", "local", _set_up, map=_map)
