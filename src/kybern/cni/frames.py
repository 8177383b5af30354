"""Services whose endpoint is on the caller's own node, where the kernel does not show what passes within the bridge.

A pod's answer to another pod of its node goes straight over the bridge, past the connection tracking that would turn its
address back to the Service's, and the caller does not know who answers. br_netfilter mends that by itself; without it the
bridge hands such frames up (``kybern.netfilter.frames``). The bridge is made before the first pod, and its hardware address
fixed, because the rule names it.
"""

import asyncio
import json
import logging
from collections.abc import Sequence

from kybern.cni.conflist import BRIDGE
from kybern.cni.netlink import Kernel
from kybern.cni.plan import Network
from kybern.netfilter import frames
from kybern.netfilter.programs import CannotApply, run

LOG = logging.getLogger(__name__)
NAME = "kybern-pod-network"


def _fixed(mtu: int) -> str:
    """The bridge's hardware address."""
    with Kernel() as kernel:
        return kernel.fixed_bridge(BRIDGE, mtu)


class Frames:
    """``apply`` may be called as often as one likes; what it did before is not looked at again."""

    def __init__(self) -> None:
        self._is_there = True  # a daemon of before may have left a table

    async def apply(self, networks: Sequence[Network], mtu: int) -> None:
        """Let the rules see what passes between the pods in ``networks``. Raises NetlinkError.

        Without nftables' tables of bridges it says so and goes on: the routes do not depend on it.
        """
        try:
            if frames.are_shown():
                await self._remove()
                return
            hardware = await asyncio.to_thread(_fixed, mtu)
            # Each time all of it: the table is small, and whatever was done to it is undone.
            await run("nft", "-f", "-", stdin=frames.upwards(NAME, hardware, networks))
            if not self._is_there:
                LOG.info("packets within the bridge pass unseen here: it hands them up now")
            self._is_there = True
        except CannotApply as problem:
            LOG.warning(
                "Services with an endpoint on the caller's own node do not answer: load br_netfilter, since %s",
                problem,
            )

    async def _remove(self) -> None:
        if not self._is_there:
            return
        told = json.loads(await run("nft", "--json", "list", "tables"))
        names = {(one["table"]["family"], one["table"]["name"]) for one in told["nftables"] if "table" in one}
        # Only where it is: a kernel may know no tables of bridges.
        if ("bridge", NAME) in names:
            await run("nft", "-f", "-", stdin=frames.removal(NAME))
        self._is_there = False
