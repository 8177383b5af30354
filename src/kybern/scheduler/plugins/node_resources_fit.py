"""A node takes a pod only when what it asks for is free there; which of those that can is preferred is a strategy's say.

LeastAllocated prefers nodes with more left, MostAllocated fuller ones, RequestedToCapacityRatio follows a broken line from
how full a node would be to its score (upstream: plugins/noderesources).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.api.resource_v1 import DeviceClass
from kybern.api.rules.amounts import extended
from kybern.machinery.causes import forbidden, invalid, not_supported, required
from kybern.machinery.meta import label_name
from kybern.scheduler import renewals, requests
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.devices.extended import classes, stands_for
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.requests import PODS, Amounts
from kybern.scheduler.room import USUAL, Numbers, Room, Section, Work, stacked
from kybern.scheduler.shapes import BOTH, Shape, along, resources, shape
from kybern.scheduler.table import Mask, Table

TOO_MANY = "Too many pods"
LEAST, MOST, RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"
FULL = 100  # percent

type Judge = Callable[[Numbers, Numbers], Numbers]  # the score of what is asked for in all, of what there is


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """``ignored`` resources, and those of ``groups`` (example.com of example.com/gpu), keep a pod off no node.

    Each is equal to itself only, so that it may be part of a key.
    """

    strategy: str = LEAST
    weights: Mapping[str, int] = BOTH
    shape: Shape = ()
    ignored: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def counts(self, resource: str) -> bool:
        if not self.ignored and not self.groups:
            return True
        skipped = resource in self.ignored or resource.partition("/")[0] in self.groups
        return not (skipped and extended(resource))


def reason(resource: str) -> str:
    return TOO_MANY if resource == PODS else f"Insufficient {resource}"


def refuse(fit: Fit, pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    allocatable = requests.amounts(info.node.status.allocatable)
    used: dict[str, int] = {}
    for other in info.pods:
        for name, number in requests.of_pod(other).items():
            used[name] = used.get(name, 0) + number
    wanted = requests.of_pod(pod)
    devices = classes(wanted, cluster.objects)
    return tuple(
        reason(name)
        for name, number in sorted(wanted.items())
        if number
        and fit.counts(name)
        and not (name in devices and not allocatable.get(name))
        and used.get(name, 0) + number > allocatable.get(name, 0)
    )


def filter_nodes(fit: Fit, facts: PodFacts, table: Table) -> Iterator[Refusal]:
    devices = classes(facts.asked, table.objects)
    key = (fit, _lacking, facts.amounts)
    small, full = table.room.vector(key, lambda: _lacking(_wanted(fit, facts), table.room))
    # Where the node is too small altogether, nobody's leaving would help.
    for against, helped in ((small, False), (full, True)):
        if np.count_nonzero(against):
            for number, name in enumerate(_wanted(fit, facts)):
                nodes = against[number]
                if name in devices:
                    # A node that has none of it may have devices for it: DynamicResources looks at these.
                    nodes = nodes & (table.room.allocatable[table.room.row(name)] > 0)
                yield Refusal(nodes, reason(name), helped)


def _wanted(fit: Fit, facts: PodFacts) -> Amounts:
    return {name: number for name, number in facts.asked.items() if number and fit.counts(name)}


def _lacking(wanted: Amounts, room: Room) -> Work:
    """For each resource that is wanted, which nodes are too small for it, and which only too full."""
    rows, numbers = stacked(wanted, room)

    def work(there: Section) -> Mask:
        allocatable = there.allocatable[rows]
        small = numbers > allocatable
        return np.array((small, (there.requested[rows] + numbers > allocatable) & ~small))

    return work


def score(fit: Fit, facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    """The mean over the resources, by weight; a resource that a node does not have is left out there."""
    found: Numbers = table.room.vector((fit, facts.amounts), lambda: _rating(fit, facts, table.room))
    return found


def _rating(fit: Fit, facts: PodFacts, room: Room) -> Work:
    judge = JUDGES[fit.strategy] if fit.strategy != RATIO else partial(_ratio, fit.shape)
    asked = facts.asked | dict(zip(USUAL, facts.usual, strict=True))
    judged = [name for name in fit.weights if asked.get(name) or not extended(name)]
    rows, numbers = stacked({USUAL.get(name, name): asked.get(name, 0) for name in judged}, room)
    each = np.array([fit.weights[name] for name in judged], np.int64)

    def work(there: Section) -> Numbers:
        allocatable = there.allocatable[rows]
        found = judge(there.requested[rows] + numbers, np.maximum(allocatable, 1))
        # Of a shape, what scores nothing does not weigh either.
        counts = (allocatable > 0) & (found > 0) if fit.strategy == RATIO else allocatable > 0
        total: Numbers = each @ (found * counts)
        divisor = np.maximum(each @ counts, 1)
        # Go's math.Round of a share, which is never below 0.
        return (2 * total + divisor) // (2 * divisor) if fit.strategy == RATIO else total // divisor

    return work


def _least(asked: Numbers, there: Numbers) -> Numbers:
    found: Numbers = np.maximum(there - asked, 0) * MAX_SCORE // there
    return found


def _most(asked: Numbers, there: Numbers) -> Numbers:
    found: Numbers = np.minimum(asked, there) * MAX_SCORE // there
    return found


def _ratio(points: Shape, asked: Numbers, there: Numbers) -> Numbers:
    return along(points, np.minimum(asked, there) * FULL // there)


JUDGES: Mapping[str, Judge] = {LEAST: _least, MOST: _most}


def freed(facts: PodFacts, what: Happening) -> bool:
    """A pod that went or shrank left something of what is asked for."""
    before = requests.of_pod(what.old)
    now = requests.of_pod(what.new) if what.new is not None else {}
    return any(number and before.get(name, 0) > now.get(name, 0) for name, number in facts.asked.items())


def grown(fit: Fit, facts: PodFacts, what: Happening) -> bool:
    """The node has what is asked for, and had less before."""
    now = requests.amounts(what.new.status.allocatable)
    before = requests.amounts(what.old.status.allocatable) if what.old is not None else {}
    asked = {name: number for name, number in facts.asked.items() if number and fit.counts(name)}
    fits = all(number <= now.get(name, 0) for name, number in asked.items())
    return fits and any(now.get(name, 0) > before.get(name, 0) for name in asked)


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "NodeResourcesFitArgs")
    ignored, groups = given.texts("ignoredResources"), given.texts("ignoredResourceGroups")
    for number, name in enumerate(ignored):
        given.wrong(*label_name(name, f"{given.at('ignoredResources')}[{number}]"))
    for number, name in enumerate(groups):
        at = f"{given.at('ignoredResourceGroups')}[{number}]"
        if "/" in name:
            given.wrong(invalid(at, name, "resource group name can't contain '/'"))
        given.wrong(*label_name(name, at))
    strategy, weights = LEAST, BOTH
    points: Shape = ()
    if "scoringStrategy" in given:
        strategy, weights, points = _strategy(given.child("scoringStrategy"))
    given.check()
    return made(Fit(strategy, weights, points, frozenset(ignored), frozenset(groups)))


def _strategy(given: Arguments) -> tuple[str, Mapping[str, int], Shape]:
    kind, weights, key = given.text("type"), resources(given), "requestedToCapacityRatio"
    if kind not in (LEAST, MOST, RATIO):
        given.wrong(not_supported(given.at("type"), kind, (LEAST, MOST, RATIO)))
    if kind != RATIO:
        if key in given:
            text = "must be nil when type is not RequestedToCapacityRatio"
            given.wrong(forbidden(given.at(key), text))
            given.accept(key)
        return kind, weights, ()
    if key not in given:
        given.wrong(required(given.at(key), "must be specified when type is RequestedToCapacityRatio"))
        return kind, weights, ()
    return kind, weights, shape(given.child(key))


def made(fit: Fit) -> Plugin:
    return Plugin(
        "NodeResourcesFit",
        filter=partial(filter_nodes, fit),
        refuse=partial(refuse, fit),
        score=partial(score, fit),
        wakes=(
            Wake(Pod, Action.GONE | Action.CHANGED, freed),
            Wake(Node, Action.ADDED | Action.CHANGED, partial(grown, fit)),
            Wake(DeviceClass, Action.ADDED | Action.CHANGED, stands_for),
            renewals.when(renewals.asks_less),
        ),
        configure=configure,
    )


PLUGIN = made(Fit())
