"""Make room for a pod that nobody takes: pods of lower priority leave a node, and the node is promised to the pod.

Who leaves, and where, is decided in ``scheduler.preemption``. Extenders with a preempt verb may take nodes off the list.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.machinery.causes import invalid
from kybern.scheduler import plain
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.framework import Attempt, Plugin, Relief
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import PREEMPTIONS
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.preemption import Victims, best, candidates, ineligible, shortlist

PERCENTAGE, ABSOLUTE = 10, 100


async def post_filter(
    percentage: int, absolute: int, attempt: Attempt, refused: Refused, handle: Handle
) -> Relief:
    PREEMPTIONS.inc()
    pod, promises = attempt.facts.pod, attempt.promises
    promised = promises.of(attempt.facts.uid)
    there = [one for node, one in attempt.table.placed() if promised and node == promised]
    if why := ineligible(pod, there, promises.leaving):
        return Relief(f"preemption: {why}")
    number = max(len(refused.helpful) * percentage // 100, absolute)
    found = _candidates(attempt, refused, number) if refused.helpful else []
    for extender in handle.extenders:
        if found and extender.preempts and extender.is_interested(pod):
            found = await extender.preempt(pod, found)
    chosen = best(found)
    if chosen is None:
        return Relief(refused.nobody_leaves, node="")
    return Relief(node=chosen.node, leaving=chosen.pods)


def _candidates(attempt: Attempt, refused: Refused, number: int) -> list[Victims]:
    pod = attempt.facts.pod
    cluster = plain.cluster(attempt.table, attempt.promises.before(pod))
    refuses = [plugin.refuse for plugin in attempt.profile.at["filter"] if plugin.refuse is not None]
    budgets = tuple(attempt.table.objects.all(PodDisruptionBudget))
    return shortlist(candidates(pod, frozenset(refused.helpful), cluster, refuses, budgets), number)


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "DefaultPreemptionArgs")
    one, other = "minCandidateNodesPercentage", "minCandidateNodesAbsolute"
    percentage, absolute = given.integer(one, PERCENTAGE), given.integer(other, ABSOLUTE)
    if not 0 <= percentage <= 100:
        given.wrong(invalid(given.at(one), percentage, "not in valid range [0, 100]"))
    if absolute < 0:
        given.wrong(invalid(given.at(other), absolute, "not in valid range [0, inf)"))
    if percentage == absolute == 0:
        same = "cannot be zero at the same time as"
        given.wrong(
            invalid(given.at(one), 0, f"{same} {other}"), invalid(given.at(other), 0, f"{same} {one}")
        )
    given.check()
    return made(percentage, absolute)


def made(percentage: int = PERCENTAGE, absolute: int = ABSOLUTE) -> Plugin:
    return Plugin(
        "DefaultPreemption",
        post_filter=partial(post_filter, percentage, absolute),
        needs=(PodDisruptionBudget,),
        configure=configure,
    )


PLUGIN = made()
