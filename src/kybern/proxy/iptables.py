"""The kernel's tables through iptables-save and iptables-restore: the only place of the proxy that runs programs."""

import asyncio
import logging
import os
from collections.abc import Mapping

from kybern.proxy.restore import changes, missing_jumps, our_chains, removal
from kybern.proxy.rules import Chains, Tables

TIMEOUT = 30.0  # seconds for one run of a program; --wait below gives up on the lock earlier
LOG = logging.getLogger(__name__)


class CannotApply(Exception):
    """iptables refused, or did not end in time."""


async def run(*command: str, stdin: str = "") -> str:
    """Standard output of a program. Raises CannotApply with what it said.

    A program reads ``stdin`` from memory, not from a pipe: one that ends without reading it would break the pipe, and what
    it said would be lost with that.
    """
    with os.fdopen(os.memfd_create(command[0]), "w+b") as text:
        text.write(stdin.encode())
        text.seek(0)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=text,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise CannotApply(f"cannot run {command[0]}: no answer within {TIMEOUT:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = err.decode(errors="replace").strip() or "no message"
        raise CannotApply(f"cannot run {' '.join(command)}: exit status {process.returncode}: {said}")
    return out.decode()


class Iptables:
    """What is in the kernel, brought to what is wanted with one iptables-restore a change.

    What was written last is remembered, so that a change sends only the chains that differ. ``forget`` makes the next call
    look at the kernel again: at the start, after a failure, and now and then, because others may have flushed our chains.
    """

    def __init__(self) -> None:
        self._applied: Mapping[str, Chains] | None = None
        self._present: dict[str, set[str]] = {}

    def forget(self) -> None:
        self._applied = None

    async def apply(self, wanted: Tables) -> int:
        """Make the kernel's chains as wanted; gives the number of lines sent. Raises CannotApply."""
        saved = None
        if self._applied is None:
            saved = await run("iptables-save")
            self._present = our_chains(saved)
        text = changes(wanted, self._applied, self._present, saved)
        if text:
            self._applied, before = None, self._applied
            await run("iptables-restore", "--wait=10", "--noflush", stdin=text)
            LOG.debug("sent %d lines to iptables-restore (first time: %s)", text.count("\n"), before is None)
        self._applied = wanted.by_name()
        self._present = {table: set(chains) for table, chains in wanted.by_name().items()}
        return text.count("\n")

    async def is_intact(self) -> bool:
        """Whether our chains and jumps are all still there. Looks at names only: who edits our chains must expect it."""
        saved = await run("iptables-save")
        return self._applied is None or (our_chains(saved) == self._present and not missing_jumps(saved))

    async def remove(self) -> None:
        """Take all our chains and jumps out again (``kube-proxy --cleanup``)."""
        saved = await run("iptables-save")
        text = removal(saved)
        if text:
            await run("iptables-restore", "--wait=10", "--noflush", stdin=text)
        self.forget()
