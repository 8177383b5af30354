"""Mounts of pods' volumes: the daemon's own (``daemon.mounts``), with failures as ``CannotMount``. Blocking."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kybern.daemon import mounts
from kybern.daemon.mounts import NO_EXEC, READ_ONLY, is_mounted
from kybern.kubelet.volumes.plugin import CannotMount

__all__ = ["NO_EXEC", "READ_ONLY", "bind", "is_mounted", "mount", "unmount"]


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise CannotMount(problem.strerror or str(problem)) from problem


def mount(source: str, target: Path, kind: str, options: tuple[str, ...], more: int = 0) -> None:
    """``options`` are those of the mount program; ``more`` are further flags, for binds too."""
    with _told():
        mounts.mount(source, target, kind, options, more)


def bind(descriptor: int, target: Path) -> None:
    """Show what a descriptor is open on at another path: no name can lead elsewhere in between."""
    mount(f"/proc/self/fd/{descriptor}", target, "none", ("bind",))


def unmount(target: Path, *, lazily: bool = False) -> None:
    """Take away whatever is mounted there, as often as needed; nothing mounted is no error."""
    with _told():
        mounts.unmount(target, lazily=lazily)
