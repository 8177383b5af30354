"""Runs the programs that write the kernel's rules. Nothing else of the daemons that write them does."""

import asyncio
import os

TIMEOUT = 30.0  # seconds for one run of a program; iptables' --wait gives up on the lock earlier
PER_LINE = 0.01  # seconds more for each line it reads: iptables takes minutes for the chains of thousands of services


class CannotApply(Exception):
    """The program is not there, refused, or did not end in time."""


class Missing(CannotApply):
    """There is no such program."""


async def run(*command: str, stdin: str = "") -> str:
    """Standard output of a program. Raises CannotApply with what it said.

    A program reads ``stdin`` from memory, not from a pipe: one that ends without reading it would break the pipe, and what
    it said would be lost with that.
    """
    patience = TIMEOUT + PER_LINE * stdin.count("\n")
    with os.fdopen(os.memfd_create(command[0]), "w+b") as text:
        text.write(stdin.encode())
        text.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=text,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise Missing(f"cannot run {command[0]}: there is no such program; install it") from error
    try:
        async with asyncio.timeout(patience):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise CannotApply(f"cannot run {command[0]}: no answer within {patience:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = err.decode(errors="replace").strip() or "no message"
        raise CannotApply(f"cannot run {' '.join(command)}: exit status {process.returncode}: {said}")
    return out.decode()
