"""An empty directory that lives as long as the pod: on the node's disk, or in memory."""

from pathlib import Path

from kybern.kubelet.resources import amount, limits
from kybern.kubelet.volumes import tmpfs
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site
from kybern.machinery.quantity import parse

_MODE, _INHERITED = 0o777, 0o2000


def _memory(site: Site) -> int:
    """How large one in memory may grow: its limit, the memory limit of the pod, or the kernel's default."""
    source = site.volume.empty_dir
    asked = parse(source.size_limit).value() if source is not None and source.size_limit else 0
    each = [amount(limits(container), "memory").value() for container in site.pod.spec.containers]
    whole = sum(each) if each and all(each) else 0
    return min(filter(None, (asked, whole)), default=0)


async def _set_up(site: Site) -> Path:
    """Made once: what containers did to the directory's mode and owner since then stays as it is."""
    source = site.volume.empty_dir
    assert source is not None
    if source.medium not in ("", "Memory"):
        raise CannotMount(f'medium "{source.medium}" is not supported')
    if source.medium == "Memory":
        mode = _MODE if site.fs_group is None else _MODE | _INHERITED
        await tmpfs.mount(site.directory, _memory(site), mode, site.fs_group)
    elif not site.directory.is_dir():
        _make(site.directory, site.fs_group)
    return site.directory


def _make(directory: Path, group: int | None) -> None:
    """Under another name first, so that it is there only as it shall be, even if we are killed in between."""
    fresh = directory.with_name(f".{directory.name}.new")
    fresh.mkdir(parents=True, exist_ok=True)
    fresh.chmod(_MODE)
    own(fresh, group)
    fresh.rename(directory)


PLUGIN = Plugin("kubernetes.io~empty-dir", "empty_dir", _set_up, tear_down=tmpfs.unmount)
