"""A node takes a pod only when what it asks for is free there; nodes with more left are preferred (LeastAllocated)."""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.scheduler import requests
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.requests import CPU, MEMORY, PODS
from kybern.scheduler.table import Mask, Numbers, Table

TOO_MANY = "Too many pods"


def reason(resource: str) -> str:
    return TOO_MANY if resource == PODS else f"Insufficient {resource}"


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    allocatable = requests.amounts(info.node.status.allocatable)
    used: dict[str, int] = {}
    for other in info.pods:
        for name, number in requests.of_pod(other).items():
            used[name] = used.get(name, 0) + number
    wanted = requests.of_pod(pod)
    return tuple(
        reason(name)
        for name, number in sorted(wanted.items())
        if number and used.get(name, 0) + number > allocatable.get(name, 0)
    )


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    for name, number in facts.asked.items():
        if not number:
            continue
        row = table.row(name)
        allocatable = table.allocatable[row]
        # Where the node is too small altogether, nobody's leaving would help.
        yield Refusal(number > allocatable, reason(name))
        full = (table.requested[row] + number > allocatable) & (number <= allocatable)
        yield Refusal(full, reason(name), helped=True)


def score(facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    """The mean over CPU and memory of the share that would be left, in percent."""
    total: Numbers = np.zeros(table.columns, np.int64)
    count: Numbers = np.zeros(table.columns, np.int64)
    for row, (name, asked) in enumerate(zip((CPU, MEMORY), facts.usual, strict=True)):
        allocatable = table.allocatable[table.row(name)]
        has = allocatable > 0
        left = np.maximum(allocatable - table.usual[row] - asked, 0)
        total += np.where(has, left * MAX_SCORE // np.maximum(allocatable, 1), 0)
        count += has
    return total // np.maximum(count, 1)


def freed(facts: PodFacts, what: Happening) -> bool:
    """A pod that went or shrank left something of what is asked for."""
    before = requests.of_pod(what.old)
    now = requests.of_pod(what.new) if what.new is not None else {}
    return any(number and before.get(name, 0) > now.get(name, 0) for name, number in facts.asked.items())


def grown(facts: PodFacts, what: Happening) -> bool:
    """The node has what is asked for, and had less before."""
    now = requests.amounts(what.new.status.allocatable)
    before = requests.amounts(what.old.status.allocatable) if what.old is not None else {}
    asked = {name: number for name, number in facts.asked.items() if number}
    fits = all(number <= now.get(name, 0) for name, number in asked.items())
    return fits and any(now.get(name, 0) > before.get(name, 0) for name in asked)


WAKES = (
    Wake(Pod, Action.GONE | Action.CHANGED, freed),
    Wake(Node, Action.ADDED | Action.CHANGED, grown),
)
PLUGIN = Plugin("NodeResourcesFit", filter=filter_nodes, refuse=refuse, score=score, wakes=WAKES)
