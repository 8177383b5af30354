"""The tables of iptables and of ip6tables, as their programs print and write them. What is raised is CannotApply."""

import logging
from collections.abc import Iterable

from kybern.netfilter.programs import CannotApply, Missing, run
from kybern.proxy.families import BOTH, Family
from kybern.proxy.restore import Jumps, questions, removal

LOG = logging.getLogger(__name__)
_CHECKED = "*filter\n:KUBE-PROXY-CANARY - [0:0]\n-A KUBE-PROXY-CANARY {rule}\nCOMMIT\n"


async def saved(family: Family) -> str:
    return await run(family.save)


async def write(family: Family, text: str) -> None:
    """Nothing is run for no text."""
    if text:
        await run(family.restore, "--wait=10", "--noflush", stdin=text)


async def is_legacy(family: Family) -> bool:
    """Whether the program is that of the kernel's old tables, which are fetched and put back whole each time."""
    return "legacy" in await run(family.restore, "--version")


async def holds(family: Family, rules: Jumps) -> bool:
    """Whether rules are there, which the program finds without listing all chains. Raises Missing."""
    try:
        await write(family, questions(rules))
    except Missing:
        raise
    except CannotApply as problem:
        LOG.info("rules of ours are gone: %s", problem)
        return False
    return True


async def check(family: Family, rule: str) -> None:
    """Whether kernel and program know what a rule asks. Writes nothing. Raises CannotApply."""
    await run(family.restore, "--wait=10", "--test", "--noflush", stdin=_CHECKED.format(rule=rule))


async def clear(family: Family) -> None:
    """Take away what is ours."""
    await write(family, removal(await saved(family)))


async def clear_unserved(versions: Iterable[int]) -> None:
    """Take away what a proxy of before, that served more than these versions of IP, may have left.

    A machine may have no such tables at all, or no program for them. That is told, and no failure: nobody is served by them.
    """
    served = set(versions)
    for family in BOTH:
        if family.version in served:
            continue
        try:
            await clear(family)
        except CannotApply as problem:
            LOG.info("%s; so nothing of kube-proxy is looked for in those tables", problem)
