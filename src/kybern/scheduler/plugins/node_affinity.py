"""Honour ``nodeSelector`` and node affinity, required and preferred."""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, NodeSelectorTerm, Pod
from kybern.api.node_selection import required_terms, selects
from kybern.scheduler.changes import Action, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal, relents, scaled
from kybern.scheduler.selection import by_term, required
from kybern.scheduler.table import Mask, Numbers, Table

REASON = "node(s) didn't match Pod's node affinity/selector"


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    return () if selects(pod.spec, info.node) else (REASON,)


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if facts.pod.spec.node_selector or required_terms(facts.pod.spec) is not None:
        yield Refusal(~required(facts.pod, table), REASON)


def score(facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    """The sum of the weights of the preferred terms that match."""
    affinity = facts.pod.spec.affinity.node_affinity if facts.pod.spec.affinity else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
    if not preferred:
        return None
    total: Numbers = np.zeros(table.columns, np.int64)
    for one in preferred:
        term: NodeSelectorTerm = one.preference
        total += by_term(term, table) * (one.weight or 0)
    return total


WAKES = (Wake(Node, Action.ADDED | Action.CHANGED, relents(refuse)),)
PLUGIN = Plugin(
    "NodeAffinity",
    filter=filter_nodes,
    refuse=refuse,
    score=score,
    normalize=scaled,
    weight=2,
    wakes=WAKES,
)
