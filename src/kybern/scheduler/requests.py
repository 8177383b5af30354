"""What a pod asks of a node, as integers. Pure.

The sum is upstream's (component-helpers/resource: PodRequests): containers and sidecars together, but at least what any init
container needs beside the sidecars that started before it; pod-level resources win over it; overhead comes on top. CPU is
in thousandths of a core, everything else in its own unit (bytes, pieces).
"""

from collections.abc import Callable, Iterable, Mapping

from kybern.api.core_v1 import Container, Pod
from kybern.machinery import quantity

CPU, MEMORY, EPHEMERAL, PODS = "cpu", "memory", "ephemeral-storage", "pods"
# What a container without a request counts as when nodes are compared, so that many such pods still spread.
USUAL_CPU, USUAL_MEMORY = 100, 200 * 1024 * 1024

type Amounts = dict[str, int]


def amount(name: str, text: str) -> int:
    """A quantity as an integer, rounded up."""
    found = quantity.parse(text)
    return found.milli() if name == CPU else found.value()


def amounts(quantities: Mapping[str, str]) -> Amounts:
    return {name: amount(name, text) for name, text in quantities.items()}


def of_pod(pod: Pod) -> Amounts:
    """Everything that the pod asks for, one pod included."""
    return _with_overhead(pod, _summed(pod, _own)) | {PODS: 1}


def usual(pod: Pod) -> tuple[int, int]:
    """CPU and memory with USUAL_* where a container asks for nothing; for scores only."""
    found = _with_overhead(pod, _summed(pod, _own_or_usual))
    return found.get(CPU, 0), found.get(MEMORY, 0)


def _own(container: Container) -> Amounts:
    return amounts(container.resources.requests) if container.resources else {}


def _own_or_usual(container: Container) -> Amounts:
    return {CPU: USUAL_CPU, MEMORY: USUAL_MEMORY} | _own(container)


def _summed(pod: Pod, take: Callable[[Container], Amounts]) -> Amounts:
    together = _plus(take(one) for one in pod.spec.containers)
    sidecars: Amounts = {}
    most: Amounts = {}
    for one in pod.spec.init_containers:
        asked = take(one)
        if one.restart_policy == "Always":
            sidecars = _plus((sidecars, asked))
            together = _plus((together, asked))
            asked = sidecars
        else:
            asked = _plus((sidecars, asked))
        most = _most(most, asked)
    return _most(together, most)


def _with_overhead(pod: Pod, found: Amounts) -> Amounts:
    if pod.spec.resources:
        found = found | amounts(pod.spec.resources.requests)
    return _plus((found, amounts(pod.spec.overhead))) if pod.spec.overhead else found


def _plus(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total


def _most(first: Amounts, second: Amounts) -> Amounts:
    return {name: max(first.get(name, 0), second.get(name, 0)) for name in (*first, *second)}
