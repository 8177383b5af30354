"""Whether a pod that was bound to this node may run on it. Pure.

The scheduler looked already, but it may have looked at an older state, and not every pod comes by way of it. A pod that
is refused fails at once, in upstream's words, and its controller makes another.
"""

from collections.abc import Iterable, Iterator, Mapping

from kybern.api.core_v1 import Pod
from kybern.kubelet.labels import is_static
from kybern.kubelet.resources import amount, request_of
from kybern.kubelet.status import Verdict


def refuse(
    pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str], labels: Mapping[str, str]
) -> Verdict | None:
    """Why a pod may not run beside the others; None when it may. Static pods always may."""
    if is_static(pod):
        return None
    rest = tuple(others)
    for name, value in pod.spec.node_selector.items():
        if labels.get(name) != value:
            return Verdict("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match "
                           "Pod's node affinity/selector")  # fmt: skip
    if set(_ports(pod)) & {port for other in rest for port in _ports(other)}:
        return Verdict("NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports "
                       "for the requested pod ports")  # fmt: skip
    return _short_of(pod, rest, allocatable)


def _ports(pod: Pod) -> Iterator[tuple[str, str, int]]:
    for container in pod.spec.containers:
        for port in container.ports:
            number = port.host_port or (port.container_port if pod.spec.host_network else None)
            if number:
                yield port.protocol or "TCP", port.host_ip or "0.0.0.0", number


def _short_of(pod: Pod, rest: tuple[Pod, ...], allocatable: Mapping[str, str]) -> Verdict | None:
    most = amount(allocatable, "pods").value()
    if most and len(rest) + 1 > most:
        return _short("pods", 1, len(rest), most)
    for name in ("cpu", "memory"):
        wanted = request_of(pod, name)
        used = sum(request_of(other, name) for other in rest)
        capacity = amount(allocatable, name).milli()
        if wanted and wanted + used > capacity:
            unit = 1 if name == "cpu" else 1000
            return _short(name, wanted // unit, used // unit, capacity // unit)
    return None


def _short(name: str, wanted: int, used: int, capacity: int) -> Verdict:
    text = f"{name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    return Verdict(f"OutOf{name}", f"Pod was rejected: Node didn't have enough resource: {text}")
