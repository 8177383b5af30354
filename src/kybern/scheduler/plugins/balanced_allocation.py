"""Prefer nodes on which resources would be used up evenly, so that none is left over without the others.

The score is (1 - deviation) of 100, where the deviation is that of the shares that would be taken of each resource: of two,
half their distance. Pods that ask for none of them are not judged, or a crowd of them would go to one node.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from kybern.api.rules.amounts import extended
from kybern.machinery.causes import duplicate, invalid
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Plugin
from kybern.scheduler.requests import CPU, MEMORY, Amounts
from kybern.scheduler.room import Numbers, Room, Section, Work, stacked
from kybern.scheduler.table import Mask, Table

BOTH = (CPU, MEMORY)


def score(resources: tuple[str, ...], facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    if not any(facts.asked.get(name) for name in resources):
        return None
    key = (_evenness, resources, facts.amounts)
    found: Numbers = table.room.vector(key, lambda: _evenness(resources, facts.asked, table.room))
    return found


def _evenness(resources: tuple[str, ...], asked: Amounts, room: Room) -> Work:
    judged = {name: asked.get(name, 0) for name in resources if asked.get(name) or not extended(name)}
    rows, numbers = stacked(judged, room)

    def work(there: Section) -> Numbers:
        allocatable = there.allocatable[rows]
        has = allocatable > 0
        shares = np.minimum((there.requested[rows] + numbers) / np.maximum(allocatable, 1), 1.0)
        if len(rows) == 2:
            deviation = np.where(has[0] & has[1], np.abs(shares[0] - shares[1]) / 2, 0.0)
        else:
            deviation = _deviation(shares, has)
        found: Numbers = ((1 - deviation) * MAX_SCORE).astype(np.int64)
        return found

    return work


def _deviation(shares: Any, has: Any) -> Any:
    """Over the resources that each node has; of none or one it is 0."""
    count = np.maximum(has.sum(axis=0), 1)
    mean = (shares * has).sum(axis=0) / count
    return np.sqrt((((shares - mean) ** 2) * has).sum(axis=0) / count)


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "NodeResourcesBalancedAllocationArgs")
    names: list[str] = []
    for one in given.children("resources"):
        name, weight = one.text("name"), one.integer("weight") or 1
        if name in names:
            one.wrong(duplicate(one.at("name"), name))
        if weight != 1:
            one.wrong(invalid(one.at("weight"), weight, "must be 1"))
        names.append(name)
    given.check()
    return made(tuple(names) or BOTH)


def made(resources: tuple[str, ...]) -> Plugin:
    return Plugin("NodeResourcesBalancedAllocation", score=partial(score, resources), configure=configure)


PLUGIN = made(BOTH)
