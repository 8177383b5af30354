"""File systems in memory, for what must not reach a disk or is asked to be fast."""

import asyncio
import platform
import re
from pathlib import Path

from kybern.kubelet.volumes import kernel


def keeps_from_swap(release: str, uids: str) -> bool:
    """Whether a tmpfs can be kept out of swap: since Linux 6.4, and for who is root of the machine itself (upstream's rule).

    ``uids`` is /proc/self/uid_map: the first user namespace has all ids.
    """
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return (
        numbers is not None
        and (int(numbers[1]), int(numbers[2])) >= (6, 4)
        and uids.split() == ["0", "0", "4294967295"]
    )


def _mount(directory: Path, options: tuple[str, ...]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not directory.is_mount():
        if keeps_from_swap(platform.release(), Path("/proc/self/uid_map").read_text()):
            options = (*options, "noswap")
        kernel.mount("tmpfs", directory, "tmpfs", options)


async def mount(directory: Path, size: int = 0, mode: int = 0o1777, group: int | None = None) -> None:
    """Have a tmpfs there; one that is mounted already is left as it is. ``group`` owns its root."""
    limit = (f"size={size}",) if size else ()
    owner = (f"gid={group}",) if group is not None else ()
    await asyncio.to_thread(_mount, directory, (f"mode={mode:o}", *limit, *owner))


async def unmount(directory: Path) -> None:
    await asyncio.to_thread(kernel.unmount, directory)
