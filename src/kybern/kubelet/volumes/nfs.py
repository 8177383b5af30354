"""A directory of an NFS server. The node needs the helper that mounts it (nfs-common)."""

import asyncio
from pathlib import Path

from kybern.kubelet.volumes import kernel, programs
from kybern.kubelet.volumes.plugin import Plugin, Site


async def _set_up(site: Site) -> Path:
    source = site.persistent.spec.nfs if site.persistent is not None else site.volume.nfs
    assert source is not None
    if await asyncio.to_thread(kernel.is_mounted, site.directory):
        return site.directory
    await asyncio.to_thread(site.directory.mkdir, parents=True, exist_ok=True)
    options = site.persistent.spec.mount_options if site.persistent is not None else ()
    only = ("ro",) if source.read_only or site.read_only else ()
    await programs.mount("nfs", f"{source.server}:{source.path}", site.directory, (*only, *options))
    return site.directory


PLUGIN = Plugin("kubernetes.io~nfs", "nfs", _set_up)
