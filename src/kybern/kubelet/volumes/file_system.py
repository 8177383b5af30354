"""File systems on devices, as the daemons share them (``daemon.file_systems``), with failures as ``CannotMount``."""

import asyncio
from pathlib import Path

from kybern.daemon import file_systems
from kybern.daemon.file_systems import Run, Unusable
from kybern.kubelet.volumes import kernel
from kybern.kubelet.volumes.plugin import CannotMount

__all__ = ["Run", "mounted"]


async def mounted(run: Run, device: Path, target: Path, kind: str, options: tuple[str, ...]) -> None:
    """Have the device mounted; never makes a file system over data, nor on one that is only read."""
    try:
        await file_systems.prepare(run, device, kind, options)
    except Unusable as problem:
        raise CannotMount(str(problem)) from problem
    await asyncio.to_thread(target.mkdir, 0o750, parents=True, exist_ok=True)
    await asyncio.to_thread(kernel.mount, str(device), target, kind, options)
