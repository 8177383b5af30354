"""Scores said plainly, one node after the other: what the vectors must come to."""

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from kybern.api.core_v1 import NodeAffinity, Pod
from kybern.api.node_selection import matches
from kybern.api.tolerations import tolerated
from kybern.scheduler import requests
from kybern.scheduler.framework import Cluster, NodeInfo
from kybern.scheduler.groups import Affinities, Looks
from kybern.scheduler.plugins.node_resources_fit import Fit
from kybern.scheduler.plugins.pod_topology_spread import counts, matching
from kybern.scheduler.shapes import Shape
from kybern.scheduler.spreading import HOSTNAME, SOFT, Constraint, Defaults, constraints

type Scores = dict[str, int] | None
type Plain = Callable[[Pod, Sequence[NodeInfo], Cluster], Scores]


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


def _taken(info: NodeInfo, pod: Pod, name: str) -> tuple[int, int]:
    """What would be asked for in all, and as is usual where nothing is."""
    asked = [requests.of_pod(one).get(name, 0) for one in (*info.pods, pod)]
    usual = [requests.usual(one)[name == "memory"] for one in (*info.pods, pod)]
    return sum(asked), sum(usual)


def _line(points: Shape, full: int) -> int:
    """The score of one percentage, point after point."""
    if full <= points[0].full:
        return points[0].score
    for before, after in itertools.pairwise(points):
        if full <= after.full:
            rise = Fraction((after.score - before.score) * (full - before.full), after.full - before.full)
            return before.score + math.trunc(rise)
    return points[-1].score


def _share(fit: Fit, asked: int, there: int) -> int:
    if fit.strategy == "LeastAllocated":
        return max(there - asked, 0) * 100 // there
    if fit.strategy == "MostAllocated":
        return min(asked, there) * 100 // there
    return _line(fit.shape, 100 if asked > there else asked * 100 // there)


def resources_fit(fit: Fit) -> Plain:
    rounded = fit.strategy == "RequestedToCapacityRatio"

    def one(pod: Pod, info: NodeInfo) -> int:
        allocatable = requests.amounts(info.node.status.allocatable)
        scores = []
        for name, weight in fit.weights.items():
            there = allocatable.get(name, 0)
            if there and ("/" not in name or requests.of_pod(pod).get(name)):
                asked = _taken(info, pod, name)[name in ("cpu", "memory")]
                scores.append((_share(fit, asked, there), weight))
        counted = [(score, weight) for score, weight in scores if score or not rounded]
        weights = sum(weight for _, weight in counted)
        if not weights:
            return 0
        mean = Fraction(sum(score * weight for score, weight in counted), weights)
        return math.floor(mean + Fraction(1, 2) if rounded else mean)

    return lambda pod, infos, _cluster: {info.node.metadata.name: one(pod, info) for info in infos}


def balanced(resources: Sequence[str]) -> Plain:
    def one(pod: Pod, info: NodeInfo) -> int:
        allocatable = requests.amounts(info.node.status.allocatable)
        names = [name for name in resources if "/" not in name or requests.of_pod(pod).get(name)]
        shares = [
            min(_taken(info, pod, name)[0] / allocatable[name], 1) for name in names if allocatable.get(name)
        ]
        if len(shares) == 2:
            return int((1 - abs(shares[0] - shares[1]) / 2) * 100)
        mean = sum(shares) / max(len(shares), 1)
        return int((1 - math.sqrt(sum((share - mean) ** 2 for share in shares) / max(len(shares), 1))) * 100)

    def scores(pod: Pod, infos: Sequence[NodeInfo], _cluster: Cluster) -> Scores:
        asked = requests.of_pod(pod)
        if not any(asked.get(name) for name in resources):
            return None
        return {info.node.metadata.name: one(pod, info) for info in infos}

    return scores


def _scaled(found: dict[str, int], reverse: bool = False) -> dict[str, int]:
    most = max(found.values(), default=0)
    if not most:
        return dict.fromkeys(found, 100 if reverse else 0)
    return {
        name: 100 - number * 100 // most if reverse else number * 100 // most
        for name, number in found.items()
    }


def taints(pod: Pod, infos: Sequence[NodeInfo], _cluster: Cluster) -> Scores:
    soft = [one for one in pod.spec.tolerations if one.effect in ("", "PreferNoSchedule")]
    met = {
        info.node.metadata.name: len(
            {
                (one.key, one.value)
                for one in info.node.spec.taints
                if one.effect == "PreferNoSchedule" and not tolerated(one, soft)
            }
        )
        for info in infos
    }
    return _scaled(met, reverse=True) if any(met.values()) else None


def node_affinity(added: NodeAffinity) -> Plain:
    def scores(pod: Pod, infos: Sequence[NodeInfo], _cluster: Cluster) -> Scores:
        own = pod.spec.affinity.node_affinity if pod.spec.affinity else None
        terms = [
            one for given in (own, added) if given
            for one in given.preferred_during_scheduling_ignored_during_execution
        ]  # fmt: skip
        if not terms:
            return None
        return _scaled(
            {
                info.node.metadata.name: sum(
                    one.weight or 0 for one in terms if matches(one.preference, info.node)
                )
                for info in infos
            }
        )

    return scores


def image_locality(pod: Pod, infos: Sequence[NodeInfo], cluster: Cluster) -> Scores:
    """Pods here have one container, of an image without a tag."""
    name = f"{pod.spec.containers[0].image}:latest"

    def size(info: NodeInfo) -> int:
        return max((one.size_bytes or 0 for one in info.node.status.images if name in one.names), default=0)

    having = sum(1 for info in cluster.nodes if size(info))
    if not having:
        return None
    least, most = 23 << 20, 1000 << 20
    return {
        info.node.metadata.name: 100
        * (min(max(size(info) * having // len(cluster.nodes), least), most) - least)
        // (most - least)
        for info in infos
    }


SCORES: dict[str, Plain] = {
    "PodTopologySpread": topology_spread,
    "InterPodAffinity": inter_pod_affinity,
    "NodeResourcesFit": resources_fit(Fit()),
    "NodeResourcesBalancedAllocation": balanced(("cpu", "memory")),
    "TaintToleration": taints,
    "ImageLocality": image_locality,
    "NodeAffinity": node_affinity(NodeAffinity()),
}
