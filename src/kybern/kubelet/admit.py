"""Whether a pod that was bound to this node may run on it. Pure.

The scheduler looked already, but it may have looked at an older state, and not every pod comes by way of it. A pod that
is refused fails at once, in upstream's words, and its controller makes another. The first check that refuses counts
(upstream's admit handlers, in the order of kubelet.go: eviction, sysctls, predicates, AppArmor, declared features,
shutdown).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.api.core_v1 import Node, Pod, Taint
from kybern.api.declared_features import for_scheduling
from kybern.api.node_selection import selects
from kybern.api.tolerations import tolerates
from kybern.kubelet import security, sysctls
from kybern.kubelet.labels import is_mirror, is_static
from kybern.kubelet.parts import containers
from kybern.kubelet.resources import amount, asked_names, qos, request_of
from kybern.kubelet.status import Verdict
from kybern.loop.nodes import keeps_off

CRITICAL = 2_000_000_000
"""The priority from which on a pod belongs to the system (system-cluster-critical)."""

_MEMORY = Taint(key="node.kubernetes.io/memory-pressure", effect="NoSchedule")


@dataclass(frozen=True, slots=True)
class Room:
    """What a pod finds here: the node as the API server has it (None: not known yet), its pods, and what it allows.

    ``pressures`` are the node's conditions that eviction keeps; ``sysctls`` what may be set, by ``sysctls.allowed``;
    ``devices`` the resources that are given by device, not by number; ``features`` what the kubelet declares;
    ``closing``: the node is going down.
    """

    node: Node | None = None
    others: tuple[Pod, ...] = ()
    pressures: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=lambda: sysctls.allowed(()))
    apparmor: bool = False
    devices: frozenset[str] = frozenset()
    features: tuple[str, ...] = ()
    closing: bool = False


def critical(pod: Pod) -> bool:
    """Whether the system needs the pod: it comes from a file on the node, or has the priority for it."""
    return is_static(pod) or is_mirror(pod) or (pod.spec.priority or 0) >= CRITICAL


def refuse(pod: Pod, room: Room) -> Verdict | None:
    """Why a pod may not run here; None when it may."""
    return next(filter(None, (check(pod, room) for check in _CHECKS)), None)


def _pressure(pod: Pod, room: Room) -> Verdict | None:
    if not room.pressures or critical(pod):
        return None
    if room.pressures == ("MemoryPressure",):
        borne = any(tolerates(one, _MEMORY) for one in pod.spec.tolerations)
        if borne or qos(pod) != "BestEffort":
            return None
    return Verdict("Evicted", f"The node had condition: [{' '.join(room.pressures)}]. ")


def _sysctl(pod: Pod, room: Room) -> Verdict | None:
    host_net, host_ipc = bool(pod.spec.host_network), bool(pod.spec.host_ipc)
    for each in security.of_pod(pod).sysctls:
        text = sysctls.problem(each.name, room.sysctls, host_net=host_net, host_ipc=host_ipc)
        if text:
            return Verdict("SysctlForbidden", f"forbidden sysctl: {text}")
    return None


def _system(pod: Pod, _room: Room) -> Verdict | None:
    if pod.metadata.labels.get("kubernetes.io/os", "linux") != "linux":
        return Verdict(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    if pod.spec.os is not None and pod.spec.os.name != "linux":
        return Verdict("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


def _strict_groups(pod: Pod, room: Room) -> Verdict | None:
    if room.node is None or security.of_pod(pod).supplemental_groups_policy != "Strict":
        return None
    features = room.node.status.features
    if features is not None and features.supplemental_groups_policy:
        return None
    text = "SupplementalGroupsPolicy=Strict is not supported in this node"
    return Verdict("SupplementalGroupsPolicyNotSupported", text)


def _resources(pod: Pod, room: Room) -> Verdict | None:
    """Extended resources that the node does not know are another's affair (removeMissingExtendedResources)."""
    if room.node is None or is_static(pod):
        return None
    capacity = room.node.status.allocatable
    most = amount(capacity, "pods").value()
    if most and len(room.others) + 1 > most:
        return _short("pods", 1, len(room.others), most)
    for name in asked_names(pod):
        wanted = request_of(pod, name)
        if not wanted or name in room.devices or (name not in capacity and "/" in name):
            continue
        used = sum(request_of(other, name) for other in room.others)
        if wanted + used > amount(capacity, name).milli():
            unit = 1 if name == "cpu" else 1000
            numbers = (wanted // unit, used // unit, amount(capacity, name).milli() // unit)
            return _short(name, *numbers)
    return None


def _short(name: str, wanted: int, used: int, capacity: int) -> Verdict:
    text = f"{name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    return Verdict(f"OutOf{name}", f"Node didn't have enough resource: {text}")


def _affinity(pod: Pod, room: Room) -> Verdict | None:
    if room.node is None or selects(pod.spec, room.node):
        return None
    return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _ports(pod: Pod, room: Room) -> Verdict | None:
    if is_static(pod) or not set(_taken(pod)) & {port for other in room.others for port in _taken(other)}:
        return None
    return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")


def _taken(pod: Pod) -> Iterator[tuple[str, str, int]]:
    for container in pod.spec.containers:
        for port in container.ports:
            number = port.host_port or (port.container_port if pod.spec.host_network else None)
            if number:
                yield port.protocol or "TCP", port.host_ip or "0.0.0.0", number


def _taints(pod: Pod, room: Room) -> Verdict | None:
    """Only taints that would drive it out again."""
    if room.node is None or is_static(pod) or not keeps_off(room.node, pod.spec.tolerations, "NoExecute"):
        return None
    return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _predicate(name: str, text: str) -> Verdict:
    return Verdict(name, f"Predicate {name} failed: {text}")


def _features(pod: Pod, room: Room) -> Verdict | None:
    missing = sorted(for_scheduling(pod) - set(room.features))
    if not missing:
        return None
    text = f"Pod requires node features that are not available: {', '.join(missing)}"
    return Verdict("PodFeatureUnsupported", text)


def _app_armor(pod: Pod, room: Room) -> Verdict | None:
    profiles = (security.app_armor(pod, container) for container, _init in containers(pod))
    if room.apparmor or all(found is None or found.type == "Unconfined" for found in profiles):
        return None
    return Verdict("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")


def _shutdown(_pod: Pod, room: Room) -> Verdict | None:
    if not room.closing:
        return None
    return Verdict("NodeShutdown", "Pod was rejected as the node is shutting down.")


_CHECKS: tuple[Callable[[Pod, Room], Verdict | None], ...] = (
    _pressure, _sysctl, _system, _strict_groups, _resources, _affinity, _ports, _taints, _app_armor,
    _features, _shutdown,
)  # fmt: skip
