"""The kernel's tables through iptables-save and iptables-restore: the only place of the proxy that runs programs."""

import asyncio
import logging
import os

from kybern.proxy.restore import everything, missing_jumps, our_chains, removal, touched
from kybern.proxy.ruleset import Ruleset

TIMEOUT = 30.0  # seconds for one run of a program; --wait below gives up on the lock earlier
PER_LINE = 0.01  # seconds more for each line it reads: iptables takes minutes for the chains of thousands of services
LOG = logging.getLogger(__name__)


class CannotApply(Exception):
    """iptables refused, or did not end in time."""


async def run(*command: str, stdin: str = "") -> str:
    """Standard output of a program. Raises CannotApply with what it said.

    A program reads ``stdin`` from memory, not from a pipe: one that ends without reading it would break the pipe, and what
    it said would be lost with that.
    """
    patience = TIMEOUT + PER_LINE * stdin.count("\n")
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


class Iptables:
    """What is in the kernel, brought to what is wanted with one iptables-restore a change.

    A change sends only the chains that were touched. ``forget`` makes the next call look at the kernel again and write all:
    at the start, after a failure, and now and then, because others may have flushed our chains.
    """

    def __init__(self) -> None:
        self.is_known = False

    def forget(self) -> None:
        self.is_known = False

    async def apply(self, rules: Ruleset) -> int:
        """Make the kernel's chains as wanted; gives the number of lines sent. Raises CannotApply."""
        chains, known = rules.take(), self.is_known
        text = touched(rules, chains) if known else everything(rules, await run("iptables-save"))
        self.is_known = False
        if text:
            await run("iptables-restore", "--wait=10", "--noflush", stdin=text)
        self.is_known = True
        LOG.debug("sent %d lines to iptables-restore (all chains: %s)", text.count("\n"), not known)
        return text.count("\n")

    async def is_intact(self, rules: Ruleset) -> bool:
        """Whether our chains and jumps are all still there. Looks at names only: who edits our chains must expect it."""
        saved = await run("iptables-save")
        return our_chains(saved) == rules.names() and not missing_jumps(saved)

    async def remove(self) -> None:
        """Take all our chains and jumps out again (``kube-proxy --cleanup``)."""
        saved = await run("iptables-save")
        text = removal(saved)
        if text:
            await run("iptables-restore", "--wait=10", "--noflush", stdin=text)
        self.forget()
