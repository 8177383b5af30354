"""A path of the node itself, checked or made as its type says."""

import stat
from collections.abc import Callable
from pathlib import Path

from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
}


async def _set_up(site: Site) -> Path:
    source = site.persistent.spec.host_path if site.persistent is not None else site.volume.host_path
    assert source is not None
    path = Path(source.path)
    if source.type:
        _verify(path, source.type)
    return path


def _verify(path: Path, kind: str) -> None:
    if not path.exists():
        _make(path, kind)
    check, problem = _CHECKS[kind]
    if not path.exists() or not check(path.stat().st_mode):
        raise CannotMount(f"hostPath type check failed: {path} {problem}")


def _make(path: Path, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644)


PLUGIN = Plugin("kubernetes.io~host-path", "host_path", _set_up)
