"""The pod's own fields and resources as files."""

from pathlib import Path

from kybern.kubelet.volumes import atomic, payload
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import Plugin, Site


async def _set_up(site: Site) -> Path:
    source = site.volume.downward_api
    assert source is not None
    files = payload.downward(source.items, site.pod, site.place, source.default_mode)
    site.directory.mkdir(parents=True, exist_ok=True)
    atomic.write(site.directory, files, site.fs_group)
    own(site.directory, site.fs_group)
    return site.directory


PLUGIN = Plugin("kubernetes.io~downward-api", "downward_api", _set_up, changes=True, only_read=True)
