"""Find a node: the filters and scores of a profile, and those of extenders in between.

Without extenders nothing is awaited, so a decision is one piece. While one is asked, the table may change: what it says is
by name, and is applied to what is there when it has answered.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from kybern.api.core_v1 import Node
from kybern.scheduler.cycle import Narrowed, choose, narrow, sampled
from kybern.scheduler.extender import Extender, ExtenderFailed
from kybern.scheduler.framework import Attempt, Refusal
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.profile import EXTENDER
from kybern.scheduler.table import Mask, Table


async def find(
    attempt: Attempt, extenders: Sequence[Extender], random: np.random.Generator, start: int = 0
) -> Placed | Refused:
    """The decision. Raises ExtenderFailed when one that is not ignorable does not answer."""
    pod, table = attempt.facts.pod, attempt.table
    with attempt.promises.kept(pod, table):
        found = narrow(attempt)
        if not found.left.any():
            return found.refused(table)
        found.left = sampled(found.left, attempt, start)
        asked = [one for one in extenders if one.is_interested(pod)]
        if not asked:
            return choose(attempt, found.left, random)
    left, more = await _ask(attempt, asked, found)
    if not left.any():
        return found.refused(table)
    with attempt.promises.kept(pod, table):
        return choose(attempt, left, random, more)


async def _ask(
    attempt: Attempt, asked: Sequence[Extender], found: Narrowed
) -> tuple[Mask, Mapping[str, int]]:
    """The nodes that extenders leave, and their scores."""
    pod, table = attempt.facts.pod, attempt.table
    names = frozenset(_names(found.left, table))
    for extender in asked:
        if names and extender.settings.filter_verb:
            names = await _filter(extender, attempt, names, found)
    more: Counter[str] = Counter()
    for extender in asked:
        if len(names) > 1 and extender.settings.prioritize_verb:
            more.update(await extender.prioritize(pod, _nodes(names, table)))
    return _columns(names, table), more


async def _filter(
    extender: Extender, attempt: Attempt, names: frozenset[str], found: Narrowed
) -> frozenset[str]:
    try:
        said = await extender.filter(attempt.facts.pod, _nodes(names, attempt.table))
    except ExtenderFailed:
        if extender.settings.ignorable:
            return names
        raise
    if names - said.left:
        table = attempt.table
        found.left = _columns(names, table)
        found.helped = np.resize(found.helped, found.left.shape)
        found.plugins.add(EXTENDER)
        against = [(name, why, True) for name, why in said.against.items()]
        against += [(name, why, False) for name, why in said.hopeless.items()]
        found.refuse(
            EXTENDER, (Refusal(_columns({name}, table), why, helped) for name, why, helped in against)
        )
    return names & said.left


def _names(left: Mask, table: Table) -> list[str]:
    return [table.names[column] for column in np.flatnonzero(left)]


def _nodes(names: frozenset[str], table: Table) -> list[Node]:
    return [node for name in sorted(names) if (node := table.node(name)) is not None]


def _columns(names: frozenset[str] | set[str], table: Table) -> Mask:
    found = np.zeros(table.columns, np.bool_)
    for name in names:
        if name in table.index:
            found[table.index[name]] = True
    return found
