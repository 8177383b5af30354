"""Keep pods off nodes whose kubelets do not declare what the pods need (KEP-5328)."""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.api.declared_features import for_scheduling
from kybern.scheduler import renewals
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import SKIP, Attempt, Cluster, NodeInfo, Plugin, Refusal, Scope
from kybern.scheduler.table import Table

REASON = "node(s) didn't match Pod's required features"


def pre_filter(attempt: Attempt) -> Scope | None:
    return None if for_scheduling(attempt.facts.pod) else SKIP


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    return () if for_scheduling(pod) <= set(info.node.status.declared_features) else (REASON,)


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    needed = for_scheduling(facts.pod)
    if not needed:
        return
    against = np.zeros(table.columns, np.bool_)
    for name, column in table.index.items():
        node = table.node(name)
        against[column] = node is None or not needed <= set(node.status.declared_features)
    yield Refusal(against, REASON)


def declares_others(_facts: PodFacts, what: Happening) -> bool:
    return what.old is None or what.old.status.declared_features != what.new.status.declared_features


WAKES = (Wake(Node, Action.ADDED | Action.CHANGED, declares_others), renewals.when(renewals.needs_others))
PLUGIN = Plugin(
    "NodeDeclaredFeatures", pre_filter=pre_filter, filter=filter_nodes, refuse=refuse, wakes=WAKES
)
