"""The kernel's tables for policies through ``nft``: the only place of the policies that touches the kernel.

What others have in other tables is never looked at, nor touched. While no pod of this node is isolated there is no table.
"""

import asyncio
import json
import logging

from kybern.netfilter import frames
from kybern.netfilter.generation import Seen, Writes
from kybern.netfilter.programs import run
from kybern.policies.model import Model
from kybern.policies.table import FAMILY, NAME, removal

LOG = logging.getLogger(__name__)
BRIDGE = "cni0"
FULL = 3600.0  # seconds until all is written anew, whatever the kernel seems to have


class Kernel:
    """What was sent so far. ``forget`` lets the next ``apply`` write all of it again."""

    def __init__(self) -> None:
        self._is_known = False
        self._is_there = True  # a daemon of before may have left a table
        self._frames = ""
        self._whole = 0.0
        self._seen = Seen()

    def forget(self) -> None:
        self._is_known, self._is_there, self._frames = False, True, ""

    async def apply(self, model: Model | None) -> int:
        """Bring the kernel to the model, which has settled; None when there is no policy. Gives the lines sent.

        Raises CannotApply; then the kernel has what it had, or what it shall have, and the next call writes everything.
        """
        known, self._is_known = self._is_known and self._is_there, False
        with self._seen.writing(whole=not known) as writes:
            lines = await self._write(model, writes, known=known)
        self._is_known = True
        return lines

    async def _write(self, model: Model | None, writes: Writes, *, known: bool) -> int:
        if model is None or not model.is_needed:
            return await self._remove(writes) if self._is_there else 0
        if known:
            lines = await _send(model.table.changes(), writes) + await _send(model.table.leftovers(), writes)
            return lines + await self._show_frames(model, writes)
        lines = await _send(model.table.everything(), writes) + await self._show_frames(model, writes)
        self._whole = asyncio.get_running_loop().time()
        self._is_there = True
        return lines

    async def remove(self) -> None:
        await self._remove(Writes())

    async def _remove(self, writes: Writes) -> int:
        told = json.loads(await run("nft", "--json", "list", "tables"))
        there = {(one["table"]["family"], one["table"]["name"]) for one in told["nftables"] if "table" in one}
        # Only where it is: a kernel may know no tables of bridges.
        shown = frames.removal(NAME) if ("bridge", NAME) in there else ""
        if (FAMILY, NAME) not in there and not shown:
            self._is_there, self._frames = False, ""
            return 0
        lines = await _send(removal() + shown, writes)
        self._is_there, self._frames = False, ""
        LOG.info("no pod of this node is isolated: removed the table %s", NAME)
        return lines

    async def _show_frames(self, model: Model, writes: Writes) -> int:
        """Where packets on the bridge pass unseen, let them be seen."""
        hardware = "" if frames.are_shown() else frames.hardware(BRIDGE)
        text = frames.upwards(NAME, hardware, model.networks) if hardware else ""
        if text == self._frames:
            return 0
        lines = await _send(text or frames.removal(NAME), writes)
        self._frames = text
        return lines

    async def is_intact(self) -> bool:
        """Whether our chains are still there and hold rules. False, too, when it is time to write all anew."""
        if not self._is_there:
            return True
        if asyncio.get_running_loop().time() - self._whole > FULL:
            return False
        if (now := self._seen.ask()) == self._seen.last:
            return True
        if "forward" not in await _filled(FAMILY) or (self._frames and not await _filled("bridge")):
            return False
        self._seen.last = now
        return True


async def _filled(family: str) -> set[str]:
    """Our chains that hold rules, by name."""
    told = json.loads(await run("nft", "--json", "--terse", "list", "ruleset", family))
    rules = (one["rule"] for one in told["nftables"] if "rule" in one)
    return {rule["chain"] for rule in rules if rule["table"] == NAME}


async def _send(text: str, writes: Writes) -> int:
    if text:
        await run("nft", "-f", "-", stdin=text)
        writes.count += 1
    return text.count("\n")
