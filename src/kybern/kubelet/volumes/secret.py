"""A secret as files, one a key; in memory, so that it never reaches a disk."""

from pathlib import Path

from kybern.kubelet.volumes import atomic, payload, tmpfs
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site


async def _set_up(site: Site) -> Path:
    source = site.volume.secret
    assert source is not None
    namespace, optional = site.pod.metadata.namespace, bool(source.optional)
    found = await site.objects.secret(namespace, source.secret_name)
    if found is None and not optional:
        raise CannotMount(f'secret "{source.secret_name}" not found')
    data = payload.of_secret(found) if found is not None else {}
    files = payload.chosen(
        data, source.items, source.default_mode, optional=optional or found is None, kind="secret"
    )
    await tmpfs.mount(site.directory)
    atomic.write(site.directory, files, site.fs_group)
    own(site.directory, site.fs_group)
    return site.directory


PLUGIN = Plugin(
    "kubernetes.io~secret", "secret", _set_up, changes=True, only_read=True, tear_down=tmpfs.unmount
)
