"""An empty directory that lives as long as the pod: on the node's disk, or in memory."""

from pathlib import Path

from kybern.kubelet.resources import amount, limits
from kybern.kubelet.volumes import tmpfs
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site
from kybern.machinery.quantity import parse


def _memory(site: Site) -> int:
    """How large one in memory may grow: its limit, the memory limit of the pod, or the kernel's default."""
    source = site.volume.empty_dir
    asked = parse(source.size_limit).value() if source is not None and source.size_limit else 0
    each = [amount(limits(container), "memory").value() for container in site.pod.spec.containers]
    whole = sum(each) if each and all(each) else 0
    return min(filter(None, (asked, whole)), default=0)


async def _set_up(site: Site) -> Path:
    source = site.volume.empty_dir
    assert source is not None
    if source.medium == "Memory":
        await tmpfs.mount(site.directory, _memory(site))
    elif source.medium:
        raise CannotMount(f'medium "{source.medium}" is not supported')
    if not site.directory.is_dir():
        site.directory.mkdir(parents=True)
    site.directory.chmod(0o777)
    own(site.directory, site.fs_group)
    return site.directory


PLUGIN = Plugin("kubernetes.io~empty-dir", "empty_dir", _set_up, tear_down=tmpfs.unmount)
