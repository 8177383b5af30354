"""A config map as files, one a key."""

from pathlib import Path

from kybern.kubelet.volumes import atomic, payload
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site


async def _set_up(site: Site) -> Path:
    source = site.volume.config_map
    assert source is not None
    namespace, optional = site.pod.metadata.namespace, bool(source.optional)
    found = await site.objects.config_map(namespace, source.name)
    if found is None and not optional:
        raise CannotMount(f'configmap "{source.name}" not found')
    data = payload.of_config_map(found) if found is not None else {}
    files = payload.chosen(data, source.items, source.default_mode, optional=optional or found is None)
    site.directory.mkdir(parents=True, exist_ok=True)
    atomic.write(site.directory, files, site.fs_group)
    own(site.directory, site.fs_group)
    return site.directory


PLUGIN = Plugin("kubernetes.io~configmap", "config_map", _set_up, changes=True, only_read=True)
