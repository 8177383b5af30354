"""What the scheduler spends on deciding, in this process: no API server, no binding."""

from collections.abc import Iterable

import numpy as np

from benchmarks.measure import Benchmark, Row, timed
from kybern.api.core_v1 import (
    Affinity,
    Container,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeStatus,
    Pod,
    PodSpec,
    ResourceRequirements,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.scheduler.cycle import schedule
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Attempt
from kybern.scheduler.outcomes import Placed
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.table import Table

NODES, PODS = 1000, 2000
ZONES = 3


def node(number: int) -> Node:
    labels = {"kubernetes.io/hostname": f"n{number}", "topology.kubernetes.io/zone": f"z{number % ZONES}"}
    return Node(
        metadata=ObjectMeta(name=f"n{number}", labels=labels),
        status=NodeStatus(allocatable={"cpu": "16", "memory": "64Gi", "pods": "110"}),
    )


def pod(number: int, affinity: Affinity | None = None) -> Pod:
    resources = ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"})
    container = Container(name="c", image="busybox", resources=resources)
    name = f"p{number}"
    spec = PodSpec(containers=(container,), scheduler_name="default-scheduler", affinity=affinity)
    return Pod(metadata=ObjectMeta(namespace="default", name=name, uid=f"uid-{name}"), spec=spec)


def in_zone(zone: str) -> Affinity:
    key = "topology.kubernetes.io/zone"
    wish = NodeSelectorRequirement(key=key, operator="In", values=(zone,))
    term = NodeSelectorTerm(match_expressions=(wish,))
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=NodeSelector(node_selector_terms=(term,))
        )
    )


def rows() -> Iterable[Row]:
    random, profile = np.random.default_rng(1), Profile.of(PLUGINS)
    for operation, affinity in (
        ("decide on a pod, 1,000 nodes", None),
        ("the same with node affinity", in_zone("z1")),
    ):
        table = Table()
        for number in range(NODES):
            table.set_node(node(number))
        pods = [pod(number, affinity) for number in range(2 * PODS)]

        def decide(number: int, table: Table = table, pods: list[Pod] = pods) -> None:
            facts = PodFacts.of(pods[number])
            found = schedule(Attempt(facts, table, profile), random)
            if not isinstance(found, Placed):
                raise TypeError(found.message)
            table.place(facts.pod.metadata.uid, found.node, facts)

        yield timed(operation, PODS, decide)


BENCHMARKS = (Benchmark("scheduler", rows),)
