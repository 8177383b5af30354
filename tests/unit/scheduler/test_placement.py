"""Fifty clusters by seed: the scheduler breaks no hard constraint, and no other node would have scored better.

The oracle looks at one node after the other, with the plain forms of the filters and with scores written down plainly here.
Every pod that is placed stays, so that later ones find ever fuller nodes.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from kybern.api.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PreferredSchedulingTerm,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from kybern.api.meta_v1 import LabelSelector
from kybern.scheduler.cycle import schedule
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt, Cluster, NodeInfo
from kybern.scheduler.outcomes import Placed
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.requests import CPU, MEMORY, amounts, of_pod
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import DEFAULT, bears, node, pod, taint
from tests.unit.scheduler.plainly import inter_pod_affinity, topology_spread

PODS = 25
HOST, ZONE = "kubernetes.io/hostname", "zone"

type Scores = Mapping[str, int]


def a_node(number: int, dice: random.Random) -> Node:
    labels = {"disk": dice.choice(["fast", "slow"])} | (
        {ZONE: f"z{number % 3}"} if dice.random() < 0.9 else {}
    )
    taints = [taint("only", "NoSchedule", "x")] * (dice.random() < 0.1)
    taints += [taint("rather", "PreferNoSchedule", "x")] * (dice.random() < 0.3)
    cpu, memory = dice.choice(["1", "2", "4"]), dice.choice(["2Gi", "4Gi", "8Gi"])
    return node(
        f"n{number}",
        cpu,
        memory,
        dice.choice(["3", "110"]),
        labels=labels,
        taints=taints,
        cordoned=dice.random() < 0.05,
    )


def term(app: str, key: str) -> PodAffinityTerm:
    return PodAffinityTerm(topology_key=key, label_selector=LabelSelector(match_labels={"app": app}))


def a_pod(number: int, dice: random.Random) -> Pod:
    app, other = dice.choice("abc"), dice.choice("abc")
    key = dice.choice([HOST, ZONE])
    spec: dict[str, Any] = {}
    rule = dice.randrange(7)
    if rule == 0:
        spec["affinity"] = Affinity(
            pod_anti_affinity=PodAntiAffinity(
                required_during_scheduling_ignored_during_execution=(term(other, HOST),)
            )
        )
    elif rule == 1:
        liked = WeightedPodAffinityTerm(pod_affinity_term=term(other, key), weight=dice.randint(1, 100))
        spec["affinity"] = Affinity(
            pod_affinity=PodAffinity(preferred_during_scheduling_ignored_during_execution=(liked,))
        )
    elif rule == 2:
        shunned = WeightedPodAffinityTerm(pod_affinity_term=term(other, key), weight=dice.randint(1, 100))
        spec["affinity"] = Affinity(
            pod_anti_affinity=PodAntiAffinity(preferred_during_scheduling_ignored_during_execution=(shunned,))
        )
    elif rule == 3:
        spec["topology_spread_constraints"] = (
            TopologySpreadConstraint(
                topology_key=key,
                max_skew=dice.randint(1, 2),
                when_unsatisfiable=dice.choice(["DoNotSchedule", "ScheduleAnyway"]),
                label_selector=LabelSelector(match_labels={"app": app}),
            ),
        )
    elif rule == 4:
        wish = NodeSelectorRequirement(key="disk", operator="In", values=("fast",))
        preferred = PreferredSchedulingTerm(
            weight=dice.randint(1, 50), preference=NodeSelectorTerm(match_expressions=(wish,))
        )
        spec["affinity"] = Affinity(
            node_affinity=NodeAffinity(preferred_during_scheduling_ignored_during_execution=(preferred,))
        )
    elif rule == 5:
        spec["node_selector"] = {"disk": "slow"}
        spec["tolerations"] = (bears("rather", "Exists"), bears("only", "Exists"))
    ports = (8080,) if dice.random() < 0.05 else ()
    cpu, memory = dice.choice(["100m", "300m", "700m"]), dice.choice(["100Mi", "500Mi", "1Gi"])
    return pod(f"p{number}", cpu, memory, ports, labels={"app": app}, **spec)


def shares(wanted: Pod, info: NodeInfo) -> list[tuple[int, int]]:
    """Of CPU and memory: what would be asked for, and what there is."""
    room = amounts(info.node.status.allocatable)
    return [(sum(of_pod(one)[name] for one in (*info.pods, wanted)), room[name]) for name in (CPU, MEMORY)]


def least_allocated(wanted: Pod, infos: Sequence[NodeInfo]) -> Scores:
    return {
        info.node.metadata.name: sum((room - used) * 100 // room for used, room in shares(wanted, info)) // 2
        for info in infos
    }


def balanced(wanted: Pod, infos: Sequence[NodeInfo]) -> Scores:
    found = {}
    for info in infos:
        cpu, memory = (min(used / room, 1.0) for used, room in shares(wanted, info))
        found[info.node.metadata.name] = int((1 - abs(cpu - memory) / 2) * 100)
    return found


def soft_taints(wanted: Pod, infos: Sequence[NodeInfo]) -> Scores:
    borne = {one.key for one in wanted.spec.tolerations}
    count = {
        info.node.metadata.name: sum(
            one.effect == "PreferNoSchedule" and one.key not in borne for one in info.node.spec.taints
        )
        for info in infos
    }
    most = max(count.values())
    return {name: 100 - (number * 100 // most if most else 0) for name, number in count.items()}


def preferred_nodes(wanted: Pod, infos: Sequence[NodeInfo]) -> Scores:
    affinity = wanted.spec.affinity.node_affinity if wanted.spec.affinity else None
    weight = (
        sum(one.weight or 0 for one in affinity.preferred_during_scheduling_ignored_during_execution)
        if affinity
        else 0
    )
    fast = {info.node.metadata.name: info.node.metadata.labels["disk"] == "fast" for info in infos}
    return {name: 100 * (weight > 0 and is_fast) for name, is_fast in fast.items()}


def totals(wanted: Pod, infos: Sequence[NodeInfo], cluster: Cluster) -> Scores:
    """The weighted sums of all scores (upstream: the default profile's weights)."""
    parts = (
        (1, least_allocated(wanted, infos)),
        (1, balanced(wanted, infos)),
        (3, soft_taints(wanted, infos)),
        (2, preferred_nodes(wanted, infos)),
        (2, topology_spread(wanted, infos, cluster) or {}),
        (2, inter_pod_affinity(wanted, infos, cluster) or {}),
    )
    names = [info.node.metadata.name for info in infos]
    return {name: sum(weight * scores.get(name, 0) for weight, scores in parts) for name in names}


@pytest.mark.parametrize("seed", range(50))
def test_every_pod_goes_to_the_best_of_the_nodes_that_will_do(seed: int) -> None:
    dice, random_ = random.Random(seed), np.random.default_rng(seed)
    table, nodes, on = (
        Table(),
        [a_node(number, dice) for number in range(dice.randint(5, 25))],
        dict[str, list[Pod]](),
    )
    for one in nodes:
        table.set_node(one)
        on[one.metadata.name] = []
    placed = 0
    for number in range(PODS):
        wanted = a_pod(number, dice)
        cluster = Cluster(tuple(NodeInfo(one, tuple(on[one.metadata.name])) for one in nodes), table.objects)
        fits = [
            info
            for info in cluster.nodes
            if not any(
                plugin.refuse(wanted, info, cluster) for plugin in PLUGINS if plugin.refuse is not None
            )
        ]

        found = schedule(Attempt(PodFacts.of(wanted), table, DEFAULT), random_)

        if not isinstance(found, Placed):
            assert fits == []
            continue
        scores = totals(wanted, fits, cluster)
        assert found.node in scores
        assert scores[found.node] == max(scores.values()), (wanted, scores)
        table.place(wanted.metadata.uid, found.node, PodFacts.of(wanted))
        on[found.node].append(wanted)
        placed += 1
    assert placed > 5
