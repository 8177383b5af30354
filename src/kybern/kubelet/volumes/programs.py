"""Programs that volumes need: the mount program, for file systems with a helper of their own (mount.nfs), and others."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from kybern.daemon import programs
from kybern.daemon.programs import PATIENCE
from kybern.kubelet.volumes.plugin import CannotMount


async def run(words: Sequence[str], patience: float = PATIENCE) -> tuple[int, str]:
    """A program's exit code, and all that it says. Raises CannotMount where there is none, or it does not end."""
    try:
        return await programs.run(words, patience)
    except programs.CannotRun as problem:
        raise CannotMount(str(problem)) from problem


async def mount(kind: str, source: str, target: Path, options: tuple[str, ...]) -> None:
    """Run ``mount``; raises CannotMount in upstream's words (k8s.io/mount-utils)."""
    chosen = ("-o", ",".join(options)) if options else ()
    arguments = ("-t", kind, *chosen, source, str(target))
    try:
        process = await asyncio.create_subprocess_exec(
            "mount", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as problem:
        raise CannotMount(_told(str(problem), arguments, "")) from problem
    try:
        async with asyncio.timeout(PATIENCE):
            output, _none = await process.communicate()
    except TimeoutError as problem:
        raise CannotMount(_told(f"no answer in {PATIENCE:.0f} s", arguments, "")) from problem
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise CannotMount(
            _told(f"exit status {process.returncode}", arguments, output.decode(errors="replace"))
        )


def _told(problem: str, arguments: tuple[str, ...], output: str) -> str:
    shown = " ".join(arguments)
    return (
        f"mount failed: {problem}\nMounting command: mount\nMounting arguments: {shown}\nOutput: {output}\n"
    )
