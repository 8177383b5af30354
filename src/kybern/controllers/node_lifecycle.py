"""Notice nodes that do not answer, say so on them and on their pods, and taint them.

Reads Node, Lease (kube-node-lease), Pod. Writes Node.status.conditions, Node.spec.taints, the Ready condition of pods.

    heartbeat (a new version of the lease, by our own clock) older than the grace period
        -> conditions Unknown, pods not Ready (so that services leave them out), event NodeNotReady
    conditions and spec.unschedulable -> taints with NoSchedule, at once
    Ready is False or Unknown         -> taint with NoExecute, which ends pods: one node of a zone in ten seconds

When no node of the cluster is ready, it is rather us who are cut off: NoExecute taints are taken away and none is set.
When more than 55 % of a zone (and more than two nodes) are not ready, a small zone gets no new ones, and a large one
gets them ten times slower. A zone of which no node is ready is lost while others are well: it is emptied at full rate.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import Node, NodeCondition, Pod, PodCondition, Taint
from kybern.loop import nodes
from kybern.loop.controller import Action, Again, Controller, Emit, Key, Measure, Patch, PatchStatus, View
from kybern.loop.pods import by_node, is_ready, with_condition
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

LEASES = "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
OURS = {NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURES.values()}
HEARTBEATS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
ZONE = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


@dataclass(frozen=True, slots=True)
class Zone:
    """The other nodes: whether any in the cluster is ready, how many of this zone are not, and the last NoExecute."""

    cluster_is_down: bool
    size: int
    unready: int
    last_tainted: datetime | None


@dataclass(frozen=True, slots=True)
class State:
    node: Node
    heartbeat: datetime
    # Whether a kubelet (or we) ever posted a status: a lease alone is one that still starts, as upstream has it.
    posted: bool
    pods: tuple[Pod, ...]
    zone: Zone
    now: datetime
    settings: Settings


def observing(settings: Settings) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        node = view.get(Node, "", key.name)
        if node is None or node.metadata.deletion_timestamp is not None:
            return None
        beats = tuple(_heartbeats(view, node))
        heartbeat = max(beats, default=node.metadata.creation_timestamp or view.now)
        pods = tuple(view.index(Pod, "node", key.name))
        return State(
            node,
            heartbeat,
            nodes.condition(node, "Ready") is not None,
            pods,
            _zone(view, node),
            view.now,
            settings,
        )

    return observe


def _heartbeats(view: View, node: Node) -> Iterable[datetime]:
    """When the node's lease was renewed, and when it posted its status, as far as we saw it ourselves.

    What a node posts bears its own clock, and the node object is written by others as well: the earlier of the two
    counts, so that neither a wrong clock nor somebody's annotation passes for a sign of life.
    """
    lease = view.get(Lease, LEASES, node.metadata.name)
    if lease is not None:
        yield view.arrived(lease)
    ready = nodes.condition(node, "Ready")
    if ready is not None and ready.last_heartbeat_time is not None:
        yield min(view.arrived(node), ready.last_heartbeat_time)


def _place(node: Node) -> tuple[str, ...]:
    return tuple(node.metadata.labels.get(label, "") for label in ZONE)


def _zone(view: View, node: Node) -> Zone:
    place = _place(node)
    tainted = [
        taint.time_added
        for one in view.index(Node, "health", f"tainted {place}")
        if one.metadata.name != node.metadata.name
        for taint in one.spec.taints
        if taint.effect == "NoExecute"
        and taint.key in {NOT_READY, UNREACHABLE}
        and taint.time_added is not None
    ]
    return Zone(
        cluster_is_down=next(view.index(Node, "health", "ready"), None) is None,
        size=sum(1 for _ in view.index(Node, "health", f"zone {place}")),
        unready=sum(1 for _ in view.index(Node, "health", f"unready {place}")),
        last_tainted=max(tainted, default=None),
    )


def by_health(node: Node) -> Iterable[str]:
    """Index: nodes by zone, by whether they are ready, and those with a taint that ends pods: all look at all others."""
    place = _place(node)
    yield f"zone {place}"
    yield "ready" if nodes.is_ready(node) else f"unready {place}"
    if any(taint.effect == "NoExecute" for taint in node.spec.taints):
        yield f"tainted {place}"


def diff(state: State) -> Iterable[Action]:
    node = state.node
    silent = (state.now - state.heartbeat).total_seconds()
    grace = state.settings.node_monitor_grace if state.posted else state.settings.node_startup_grace
    if silent > grace:
        lost = _unknown(state)
        if lost is not node:
            yield PatchStatus(node, lost)
            if nodes.is_ready(node):
                yield _said(node, "NodeNotReady")
            # The taints follow in the next round, from what is then written.
            return
    elif nodes.is_ready(node):
        yield Again(grace - silent + 0.1)
    if not nodes.is_ready(node):
        yield from _pods_not_ready(state)
    yield from _taint(state)


def _taint(state: State) -> Iterable[Action]:
    node = state.node
    taints, wait = wanted_taints(state)
    if _names(taints) != _names(node.spec.taints):
        yield Patch(node, replace(node, spec=replace(node.spec, taints=taints)))
        if _ends_pods(taints) and not _ends_pods(node.spec.taints):
            yield _measured(node)
    if wait:
        yield Again(wait)


def _said(node: Node, status: str) -> Emit:
    return Emit(node, "Normal", status, f"Node {node.metadata.name} status is now: {status}")


def _unknown(state: State) -> Node:
    """The node with every condition that heartbeats bring at Unknown; the node itself when they are already."""
    node, now = state.node, state.now.replace(microsecond=0)
    conditions = list(node.status.conditions)
    for kind in HEARTBEATS:
        old = nodes.condition(node, kind)
        if old is None:
            never = "Kubelet never posted node status."
            conditions.append(
                _condition(kind, "NodeStatusNeverUpdated", never, node.metadata.creation_timestamp, now)
            )
        elif old.status != "Unknown":
            stopped = "Kubelet stopped posting node status."
            conditions[conditions.index(old)] = _condition(
                kind, "NodeStatusUnknown", stopped, old.last_heartbeat_time, now
            )
    if tuple(conditions) == node.status.conditions:
        return node
    return replace(node, status=replace(node.status, conditions=tuple(conditions)))


def _condition(
    kind: str, reason: str, message: str, heartbeat: datetime | None, now: datetime
) -> NodeCondition:
    return NodeCondition(
        type=kind,
        status="Unknown",
        reason=reason,
        message=message,
        last_heartbeat_time=heartbeat,
        last_transition_time=now,
    )


def _pods_not_ready(state: State) -> Iterable[Action]:
    """What runs on a node that is not ready serves nobody for all we know."""
    for pod in state.pods:
        if is_ready(pod):
            when = state.now.replace(microsecond=0)
            unready = PodCondition(type="Ready", status="False", last_transition_time=when)
            yield PatchStatus(pod, with_condition(pod, unready))
            yield Emit(pod, "Warning", "NodeNotReady", "Node is not ready")


def _ends_pods(taints: Iterable[Taint]) -> bool:
    """Whether a node's trouble makes its pods leave."""
    return any(one.effect == "NoExecute" and one.key in {NOT_READY, UNREACHABLE} for one in taints)


def _measured(node: Node) -> Measure:
    region, place = (node.metadata.labels.get(label, "") for label in ZONE)
    zone = f"{region}:\x00:{place}" if region or place else ""  # upstream's key of a zone
    return Measure("node_collector_evictions_total", (zone,))


def wanted_taints(state: State) -> tuple[tuple[Taint, ...], float]:
    """The taints that the node should have, and in how many seconds to look again when one has to wait."""
    node = state.node
    now = state.now.replace(microsecond=0)
    others = [taint for taint in node.spec.taints if taint.key not in OURS]
    old = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    wanted = [(key, "NoSchedule") for key in _no_schedule(node)]
    trouble, wait = _trouble(node), 0.0
    if trouble and not state.zone.cluster_is_down:
        has = next((key for key in (NOT_READY, UNREACHABLE) if (key, "NoExecute") in old), "")
        wait = 0.0 if has else _wait(state)
        if has or wait == 0:
            wanted.append((trouble, "NoExecute"))
    found = [old.get(one) or Taint(key=one[0], effect=one[1], time_added=now) for one in wanted]
    return (*others, *found), max(wait, 0.0)


def _trouble(node: Node) -> str:
    ready = nodes.condition(node, "Ready")
    return {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready.status if ready is not None else "", "")


def _no_schedule(node: Node) -> Iterable[str]:
    trouble = _trouble(node)
    if trouble or nodes.condition(node, "Ready") is None:
        yield trouble or NOT_READY
    for kind, key in PRESSURES.items():
        found = nodes.condition(node, kind)
        if found is not None and found.status == "True":
            yield key
    if node.spec.unschedulable:
        yield UNSCHEDULABLE


def _wait(state: State) -> float:
    """Seconds until this node may get its NoExecute taint; 0 is now."""
    zone, settings = state.zone, state.settings
    rate = settings.node_eviction_rate
    if 2 < zone.unready < zone.size and zone.unready / zone.size >= settings.unhealthy_zone:
        rate = settings.secondary_eviction_rate if zone.size > settings.large_cluster else 0.0
    if rate <= 0:
        return settings.node_monitor_period
    if zone.last_tainted is None:
        return 0.0
    return max(0.0, 1 / rate - (state.now - zone.last_tainted).total_seconds())


def _names(taints: Iterable[Taint]) -> set[tuple[str, str, str]]:
    return {(taint.key, taint.value, taint.effect) for taint in taints}


def pods_node(pod: Pod, view: View) -> Iterable[Key]:
    """A pod that turns ready on a node that is not: only then does a pod matter here."""
    if pod.spec.node_name and is_ready(pod):
        node = view.get(Node, "", pod.spec.node_name)
        if node is not None and not nodes.is_ready(node):
            yield Key("", pod.spec.node_name)


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "node-lifecycle-controller",
        Node,
        observing(settings),
        diff,
        watches=((Pod, pods_node), (Lease, lambda _lease, _view: ())),
        indexes=((Pod, "node", by_node), (Node, "health", by_health)),
        component="node-controller",
        every=settings.node_monitor_period,
        workers=1,
    )
