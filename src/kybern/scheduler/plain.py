"""The cluster as plugins see it that look at one node after the other, and their answers for all of them. Pure."""

from collections.abc import Iterable, Iterator

import numpy as np

from kybern.api.core_v1 import Pod
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Rate, Refusal, Refuse
from kybern.scheduler.room import Numbers
from kybern.scheduler.table import Mask, Table


def cluster(table: Table, more: Iterable[tuple[str, PodFacts]] = ()) -> Cluster:
    """All nodes with their pods, and with ``more`` that count on a node without being there yet."""
    on: dict[str, list[Pod]] = {name: [] for name in table.index}
    for name, pod in table.placed():
        if name in on:
            on[name].append(pod)
    for name, facts in more:
        if name in on and not table.placed_on(facts.uid):
            on[name].append(facts.pod)
    nodes = (NodeInfo(node, tuple(pods)) for name, pods in on.items() if (node := table.node(name)))
    return Cluster(tuple(nodes), table.objects)


def filtered(refuse: Refuse, facts: PodFacts, table: Table) -> Iterator[Refusal]:
    """What a plain filter says of every node. That somebody's leaving may help is taken for granted."""
    there = cluster(table)
    against: dict[str, Mask] = {}
    for info in there.nodes:
        for reason in refuse(facts.pod, info, there):
            nodes = against.setdefault(reason, np.zeros(table.columns, np.bool_))
            nodes[table.index[info.node.metadata.name]] = True
    for reason, nodes in against.items():
        yield Refusal(nodes, reason, helped=True)


def scored(rate: Rate, facts: PodFacts, table: Table, left: Mask) -> Numbers:
    """What a plain score says of the nodes that are left."""
    there = cluster(table)
    found: Numbers = np.zeros(table.columns, np.int64)
    for info in there.nodes:
        column = table.index[info.node.metadata.name]
        if left[column]:
            found[column] = rate(facts.pod, info, there)
    return found
