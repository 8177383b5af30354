"""A chain that says by which program, of legacy or of nft, this node's iptables rules are written.

Images that write rules of their own (network plugins) look for it in both, and take the one that has it (KEP-3178,
iptables-wrappers). It leads nowhere. Where a program is missing there is nothing to say, and nothing is said.
"""

import asyncio
import logging

from kybern.netfilter.programs import CannotApply, Missing, run

LOG = logging.getLogger(__name__)
CHAIN = "KUBE-IPTABLES-HINT"
PERIOD = 60.0  # seconds, as upstream's kubelet looks whether somebody has flushed its chains
PROGRAMS = ("iptables", "ip6tables")


async def keep() -> None:
    """Have the chain there, until cancelled."""
    programs = set(PROGRAMS)
    while programs:
        for program in sorted(programs):
            try:
                await ensure(program)
            except Missing as problem:
                LOG.info("%s; so no chain says which one this node uses", problem)
                programs.discard(program)
            except CannotApply as problem:
                LOG.warning("cannot make the chain %s: %s", CHAIN, problem)
        await asyncio.sleep(PERIOD)


async def ensure(program: str) -> None:
    """One program's chain. Raises CannotApply. It is looked for first: whoever counts changes of rules sees none then."""
    at = (program, "-w", "5", "-t", "mangle")
    try:
        await run(*at, "-n", "-L", CHAIN)
    except Missing:
        raise
    except CannotApply:
        await run(*at, "-N", CHAIN)
