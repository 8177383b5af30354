"""Nodes are fit for work, and pods are on nodes that they fit."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from kybern.machinery.quantity import parse
from tests.simulation.plane.world import (
    ZERO,
    Outside,
    Raw,
    World,
    asks,
    bears,
    condition,
    is_over,
    place,
    shown,
)


def nodes(world: World, _outside: Outside) -> Iterator[str]:
    """Every node that is left is fit for work, and has pod addresses of its own."""
    ranges: Counter[str] = Counter()
    for node in world.of("Node"):
        taints = sorted(taint["key"] for taint in node["spec"].get("taints") or ())
        if condition(node, "Ready") != "True" or taints:
            yield f"{shown(node)} says Ready {condition(node, 'Ready')} and has taints {taints}"
        ranges[node["spec"].get("podCIDR", "")] += 1
    if ranges and (max(ranges.values()) > 1 or "" in ranges):
        yield f"nodes share pod networks or have none: {[one for one, count in ranges.items() if count > 1]}"


def placed(world: World, _outside: Outside) -> Iterator[str]:
    """Every pod is on a node that is there and that it selects."""
    nodes = {place(node)[1]: node for node in world.of("Node")}
    for pod in world.of("Pod"):
        node = nodes.get(pod["spec"].get("nodeName", ""))
        if node is None:
            yield f"{shown(pod)} is on no node: {pod['spec'].get('nodeName', '')!r}"
        elif not bears(node, pod["spec"].get("nodeSelector") or {}):
            yield f"{shown(pod)} is on {shown(node)}, which it does not select"


def room(world: World, _outside: Outside) -> Iterator[str]:
    """No node has more pods than it has room for."""
    on: defaultdict[str, list[Raw]] = defaultdict(list)
    for pod in world.of("Pod"):
        if not is_over(pod):
            on[pod["spec"].get("nodeName", "")].append(pod)
    for node in world.of("Node"):
        pods, room = on[place(node)[1]], node["status"]["allocatable"]
        for resource in ("cpu", "memory"):
            asked = sum((asks(pod, resource) for pod in pods), ZERO)
            if asked > parse(room[resource]):
                yield f"pods on {shown(node)} ask for {asked} {resource} of {room[resource]}"
        if len(pods) > int(room["pods"]):
            yield f"{shown(node)} has {len(pods)} pods"


def apart(world: World, _outside: Outside) -> Iterator[str]:
    """Pods that must not be with others on a node are not."""
    for pod in world.of("Pod"):
        rules = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        for term in rules or ():
            near = world.pods(place(pod)[0], term["labelSelector"]["matchLabels"])
            beside = [one for one in near if one["spec"].get("nodeName") == pod["spec"].get("nodeName")]
            if len(beside) > 1:
                yield f"{shown(pod)} is beside {[shown(one) for one in beside if one is not pod]}"
