"""File systems in memory, for what must not reach a disk or is asked to be fast."""

import asyncio
from pathlib import Path

from kybern.kubelet.volumes import kernel


def _mount(directory: Path, options: tuple[str, ...]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not directory.is_mount():
        kernel.mount("tmpfs", directory, "tmpfs", options)


async def mount(directory: Path, size: int = 0, mode: int = 0o1777, group: int | None = None) -> None:
    """Have a tmpfs there; one that is mounted already is left as it is. ``group`` owns its root."""
    limit = (f"size={size}",) if size else ()
    owner = (f"gid={group}",) if group is not None else ()
    await asyncio.to_thread(_mount, directory, (f"mode={mode:o}", *limit, *owner))


async def unmount(directory: Path) -> None:
    await asyncio.to_thread(kernel.unmount, directory)
