"""An empty directory that lives as long as the pod: on the node's disk, in memory, or in huge pages."""

import asyncio
from pathlib import Path

from kybern.api.core_v1 import Pod
from kybern.kubelet.resources import asked_names, total
from kybern.kubelet.volumes import kernel, tmpfs
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site
from kybern.machinery.quantity import parse

_MODE, _INHERITED = 0o777, 0o2000
_PAGES = "HugePages"


def _memory(site: Site) -> int:
    """How large one in memory may grow: its limit, but no larger than the memory of the pod, or of all pods of the node."""
    source = site.volume.empty_dir
    asked = parse(source.size_limit).value() if source is not None and source.size_limit else 0
    whole = total(site.pod).memory_limit or 0
    return min(filter(None, (asked, whole, site.place.memory)), default=0)


def page_size(medium: str, pod: Pod) -> str:
    """The size of a medium's pages as the kernel takes it (2Mi): one that the pod asks for. Raises CannotMount. Pure."""
    sizes = [name.removeprefix("hugepages-") for name in asked_names(pod) if name.startswith("hugepages-")]
    if medium != _PAGES:
        wanted = parse(medium.removeprefix(f"{_PAGES}-"))
        sizes = [size for size in sizes if parse(size) == wanted]
    elif len(sizes) > 1:
        raise CannotMount(f"medium: {medium} can't be used if container requests multiple huge page sizes")
    if not sizes:
        raise CannotMount("hugePages storage requested, but there is no resource request for huge pages.")
    return sizes[0]


async def _set_up(site: Site) -> Path:
    """Made once: what containers did to the directory's mode and owner since then stays as it is."""
    source = site.volume.empty_dir
    assert source is not None
    if source.medium.startswith(_PAGES):
        await asyncio.to_thread(_huge, site, page_size(source.medium, site.pod))
    elif source.medium not in ("", "Memory"):
        raise CannotMount(f"unknown storage medium {source.medium!r}")
    elif source.medium == "Memory":
        mode = _MODE if site.fs_group is None else _MODE | _INHERITED
        await tmpfs.mount(site.directory, _memory(site), mode, site.fs_group)
    elif not site.directory.is_dir():
        _make(site.directory, site.fs_group)
    return site.directory


def _huge(site: Site, size: str) -> None:
    """A file system of huge pages; it takes no more of them than the pod's cgroup may."""
    site.directory.mkdir(parents=True, exist_ok=True)
    if not kernel.is_mounted(site.directory):
        kernel.mount("nodev", site.directory, "hugetlbfs", (f"pagesize={size}",))
        own(site.directory, site.fs_group)


def _make(directory: Path, group: int | None) -> None:
    """Under another name first, so that it is there only as it shall be, even if we are killed in between."""
    fresh = directory.with_name(f".{directory.name}.new")
    fresh.mkdir(parents=True, exist_ok=True)
    fresh.chmod(_MODE)
    own(fresh, group)
    fresh.rename(directory)


PLUGIN = Plugin("kubernetes.io~empty-dir", "empty_dir", _set_up, tear_down=tmpfs.unmount)
