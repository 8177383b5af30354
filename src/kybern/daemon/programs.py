"""Programs that a daemon needs, such as mkfs: their exit code and all that they say."""

import asyncio
from collections.abc import Sequence

PATIENCE = 120.0


class CannotRun(Exception):
    """There is no such program, or it does not end; the message says which."""


async def run(words: Sequence[str], patience: float = PATIENCE) -> tuple[int, str]:
    """A program's exit code, and all that it says. Raises CannotRun where there is none, or it does not end in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as problem:
        raise CannotRun(f"cannot run {words[0]}: {problem.strerror}") from problem
    try:
        async with asyncio.timeout(patience):
            output, _none = await process.communicate()
    except TimeoutError as problem:
        raise CannotRun(f"{words[0]} did not end in {patience:.0f} s") from problem
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")
