"""Keep pods off nodes that are cordoned (``spec.unschedulable``)."""

from collections.abc import Iterator

from kybern.api.core_v1 import Node, Pod, Taint
from kybern.api.tolerations import tolerated
from kybern.scheduler import renewals
from kybern.scheduler.changes import Action, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal, relents
from kybern.scheduler.table import Table

REASON = "node(s) were unschedulable"
TAINT = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    if not info.node.spec.unschedulable or tolerated(TAINT, pod.spec.tolerations):
        return ()
    return (REASON,)


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if table.unschedulable.any() and not tolerated(TAINT, facts.pod.spec.tolerations):
        yield Refusal(table.unschedulable, REASON)


WAKES = (Wake(Node, Action.ADDED | Action.CHANGED, relents(refuse)), renewals.when(renewals.tolerates_more))
PLUGIN = Plugin("NodeUnschedulable", filter=filter_nodes, refuse=refuse, wakes=WAKES)
