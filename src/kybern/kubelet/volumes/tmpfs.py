"""File systems in memory, for what must not reach a disk or is asked to be fast."""

import asyncio
from pathlib import Path

from kybern.kubelet.volumes.plugin import CannotMount

_PATIENCE = 20.0


async def _run(*command: str) -> str:
    """Why a command failed; empty when it did not."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            _out, problem = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"{command[0]} took longer than {_PATIENCE:.0f} s"
    return problem.decode(errors="replace").strip() or "failed" if process.returncode else ""


def _mounted(directory: Path, *, make: bool = True) -> bool:
    if make:
        directory.mkdir(parents=True, exist_ok=True)
    return directory.is_mount()


async def mount(directory: Path, size: int = 0, mode: int = 0o777) -> None:
    """Have a tmpfs there; one that is mounted already is left as it is."""
    if _mounted(directory):
        return
    options = f"mode={mode:o}" + (f",size={size}" if size else "")
    problem = await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory))
    if problem:
        raise CannotMount(f"mount failed: {problem}")


async def unmount(directory: Path) -> None:
    """Take away whatever is mounted there, as often as needed."""
    while _mounted(directory, make=False):
        problem = await _run("umount", str(directory))
        if problem:
            raise CannotMount(f"unmount failed: {problem}")
