"""Keep pods off nodes whose taints they do not bear, and prefer nodes without taints that ask to be avoided."""

from collections.abc import Iterator

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.api.tolerations import tolerated
from kybern.scheduler import renewals
from kybern.scheduler.changes import Action, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal, relents, scaled_down
from kybern.scheduler.room import Numbers
from kybern.scheduler.table import Mask, Table

REASON = "node(s) had untolerated taint(s)"
HARD = ("NoSchedule", "NoExecute")


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    hard = (taint for taint in info.node.spec.taints if taint.effect in HARD)
    return () if all(tolerated(taint, pod.spec.tolerations) for taint in hard) else (REASON,)


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if table.taints:
        yield Refusal(refused(facts, table), REASON)


def refused(facts: PodFacts, table: Table) -> Mask:
    """Nodes with a hard taint that the pod does not bear."""
    tolerations = facts.pod.spec.tolerations
    found = np.zeros(table.columns, np.bool_)
    for taint, nodes in table.taints.items():
        if taint.effect in HARD and not tolerated(taint, tolerations):
            found |= nodes
    return found


def score(facts: PodFacts, table: Table, left: Mask) -> Numbers | None:
    """How many soft taints the pod does not bear; the fewer the better. None when it meets none of them."""
    soft = [one for one in facts.pod.spec.tolerations if one.effect in ("", "PreferNoSchedule")]
    met = [
        nodes
        for taint, nodes in table.taints.items()
        if taint.effect == "PreferNoSchedule" and not tolerated(taint, soft) and (nodes & left).any()
    ]
    return np.sum(met, axis=0, dtype=np.int64) if met else None


WAKES = (Wake(Node, Action.ADDED | Action.CHANGED, relents(refuse)), renewals.when(renewals.tolerates_more))
PLUGIN = Plugin(
    "TaintToleration",
    filter=filter_nodes,
    refuse=refuse,
    score=score,
    normalize=scaled_down,
    weight=3,
    wakes=WAKES,
)
