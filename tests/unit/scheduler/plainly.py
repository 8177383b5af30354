"""Scores said plainly, one node after the other: what the vectors must come to."""

import math
from collections.abc import Callable, Sequence

from kybern.api.core_v1 import Pod
from kybern.scheduler.framework import Cluster, NodeInfo
from kybern.scheduler.groups import Affinities, Looks
from kybern.scheduler.plugins.pod_topology_spread import counts, matching
from kybern.scheduler.spreading import HOSTNAME, SOFT, Constraint, Defaults, constraints

type Scores = dict[str, int] | None


def _domain(one: Constraint, info: NodeInfo) -> str | None:
    return info.node.metadata.labels.get(one.topology_key)


def topology_spread(pod: Pod, infos: Sequence[NodeInfo], cluster: Cluster) -> Scores:
    wanted = constraints(pod, SOFT, Defaults(), cluster.objects)
    if not wanted:
        return None
    strict = bool(pod.spec.topology_spread_constraints)

    def whole(info: NodeInfo) -> bool:
        return not strict or all(_domain(one, info) is not None for one in wanted)

    judged = [info for info in infos if whole(info)]
    totals: dict[str, int] = {}
    for info in judged:
        total = 0.0
        for one in wanted:
            here = _domain(one, info)
            if here is None:
                continue
            if one.topology_key == HOSTNAME:
                size, number = len(judged), matching(one, info)
            else:
                size = len({_domain(one, other) for other in judged})
                number = sum(
                    matching(one, other)
                    for other in cluster.nodes
                    if whole(other) and _domain(one, other) == here and counts(one, pod, other.node)
                )
            total += number * math.log(size + 2) + (one.max_skew - 1)
        totals[info.node.metadata.name] = math.floor(total + 0.5)
    most, least = max(totals.values(), default=0), min(totals.values(), default=0)
    return {
        info.node.metadata.name: (
            0 if info.node.metadata.name not in totals
            else 100 if most == 0
            else 100 * (most + least - totals[info.node.metadata.name]) // most
        )
        for info in infos
    }  # fmt: skip


def inter_pod_affinity(pod: Pod, infos: Sequence[NodeInfo], cluster: Cluster) -> Scores:
    own, looks = Affinities.of(pod), Looks.of(pod)
    labels_of = cluster.namespace_labels
    sums: dict[tuple[str, str], int] = {}
    judged = bool(own.likes)
    for info in cluster.nodes:
        for guest in info.pods:
            theirs = Affinities.of(guest)
            terms = [
                *((weight, term) for weight, term in own.likes if term.group.has(Looks.of(guest), labels_of)),
                *((weight, term) for weight, term in theirs.likes if term.group.has(looks, labels_of)),
                *((1, term) for term in theirs.needs if term.group.has(looks, labels_of)),
            ]
            judged = judged or bool(terms)
            for weight, term in terms:
                value = info.node.metadata.labels.get(term.topology_key)
                if value is not None:
                    sums[term.topology_key, value] = sums.get((term.topology_key, value), 0) + weight
    if not judged:
        return None
    found = {
        info.node.metadata.name: sum(sums.get(pair, 0) for pair in info.node.metadata.labels.items())
        for info in infos
    }
    least, most = min(found.values(), default=0), max(found.values(), default=0)
    if least == most:
        return dict.fromkeys(found, 0)
    return {name: int(100 * ((number - least) / (most - least))) for name, number in found.items()}


SCORES: dict[str, Callable[[Pod, Sequence[NodeInfo], Cluster], Scores]] = {
    "PodTopologySpread": topology_spread,
    "InterPodAffinity": inter_pod_affinity,
}
