"""Honour ``spec.nodeName`` of a pod that names its node and is still to be placed."""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.scheduler.changes import Action, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal, relents
from kybern.scheduler.table import Table

REASON = "node(s) didn't match the requested node name"


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    return (REASON,) if pod.spec.node_name not in ("", info.node.metadata.name) else ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    name = facts.pod.spec.node_name
    if name:
        others = np.ones(table.columns, np.bool_)
        if name in table.index:
            others[table.index[name]] = False
        yield Refusal(others, REASON)


PLUGIN = Plugin(
    "NodeName", filter=filter_nodes, refuse=refuse, wakes=(Wake(Node, Action.ADDED, relents(refuse)),)
)
