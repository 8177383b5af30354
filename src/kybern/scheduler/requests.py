"""What a pod asks of a node, as integers. Pure.

The sum is upstream's (component-helpers/resource: PodRequests): containers and sidecars together, but at least what any init
container needs beside the sidecars that started before it; pod-level resources win over it; overhead comes on top. CPU is
in thousandths of a core, everything else in its own unit (bytes, pieces).

A pod that is being resized counts with the most of what is wanted (its spec), granted and in force (its status), until
they agree; a wish that its node called infeasible does not count (KEP-1287).
"""

from collections.abc import Callable, Iterable, Mapping

from kybern.api.core_v1 import Container, ContainerStatus, Pod, PodStatus
from kybern.machinery import quantity
from kybern.machinery.struct import replace

CPU, MEMORY, EPHEMERAL, PODS = "cpu", "memory", "ephemeral-storage", "pods"
HUGE = "hugepages-"
# What a container without a request counts as when nodes are compared, so that many such pods still spread.
USUAL_CPU, USUAL_MEMORY = 100, 200 * 1024 * 1024

type Amounts = dict[str, int]
type Reported = Mapping[str, ContainerStatus]


def amount(name: str, text: str) -> int:
    """A quantity as an integer, rounded up."""
    found = quantity.parse(text)
    return found.milli() if name == CPU else found.value()


def amounts(quantities: Mapping[str, str]) -> Amounts:
    return {name: amount(name, text) for name, text in quantities.items()}


def of_pod(pod: Pod) -> Amounts:
    """Everything that the pod asks for, one pod included."""
    return _whole(pod, {}) | {PODS: 1}


def usual(pod: Pod) -> tuple[int, int]:
    """CPU and memory with USUAL_* where a container asks for nothing; for scores only.

    Of a pod with resources of its own, only what neither it nor a container asks for is filled in.
    """
    missing = {CPU: USUAL_CPU, MEMORY: USUAL_MEMORY}
    if pod.spec.resources and (
        _supported(pod.spec.resources.requests) or _supported(pod.spec.resources.limits)
    ):
        asked = _whole(pod, {})
        missing = {name: number for name, number in missing.items() if name not in asked}
    found = _whole(pod, missing)
    return found.get(CPU, 0), found.get(MEMORY, 0)


def wanted(pod: Pod) -> Amounts:
    """What the pod's spec asks for, whatever its node granted so far."""
    return _whole(replace(pod, status=PodStatus()), {})


def limited(pod: Pod) -> Amounts:
    """The most that the pod's spec lets it use (upstream: PodLimits); overhead comes on top of what has a limit."""
    found = _summed(pod, lambda one: amounts(one.resources.limits) if one.resources else {})
    if pod.spec.resources:
        found |= amounts(_supported(pod.spec.resources.limits))
    overhead = amounts(pod.spec.overhead)
    return {name: number + overhead.get(name, 0) if number else 0 for name, number in found.items()}


def reported(pod: Pod) -> tuple[object, ...]:
    """What of the status takes part in the sum: as long as it is the same, the pod counts the same."""
    status = pod.status
    statuses = (*status.init_container_statuses, *status.container_statuses)
    each = tuple((one.name, one.allocated_resources, one.resources) for one in statuses)
    return each, status.resources, status.allocated_resources, is_infeasible(pod)


def is_infeasible(pod: Pod) -> bool:
    """Whether the node said that it can never grant the resize that is wanted."""
    pending = (one for one in pod.status.conditions if one.type == "PodResizePending")
    return any(one.reason == "Infeasible" for one in pending)


def _whole(pod: Pod, missing: Amounts) -> Amounts:
    found = _summed(pod, _taking(pod, missing))
    if pod.spec.resources and pod.spec.resources.requests:
        found |= _of_the_pod(pod)
    return _plus((found, amounts(pod.spec.overhead))) if pod.spec.overhead else found


def _taking(pod: Pod, missing: Amounts) -> Callable[[Container], Amounts]:
    """What one container asks for, with ``missing`` where it asks for nothing."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    known = {one.name: one for one in statuses if one.resources or one.allocated_resources}
    infeasible = bool(known) and is_infeasible(pod)

    def take(container: Container) -> Amounts:
        wanted = amounts(container.resources.requests) if container.resources else {}
        status = known.get(container.name)
        if status is not None:
            held = _most(
                amounts(status.resources.requests) if status.resources else {},
                amounts(status.allocated_resources),
            )
            wanted = held if infeasible else _most(wanted, held)
        return missing | wanted if missing else wanted

    return take


def _of_the_pod(pod: Pod) -> Amounts:
    """Pod-level requests; what the status says of them has the overhead in it already."""
    wanted = _supported(pod.spec.resources.requests) if pod.spec.resources else {}
    status = pod.status
    if not wanted or not (status.resources or status.allocated_resources):
        return amounts(wanted)
    overhead = amounts(pod.spec.overhead)
    held: Amounts = {}
    for found in (status.resources.requests if status.resources else {}, status.allocated_resources):
        less = {name: number - overhead.get(name, 0) for name, number in amounts(_supported(found)).items()}
        held = _most(held, less)
    return held if is_infeasible(pod) else _most(amounts(wanted), held)


def _supported(quantities: Mapping[str, str]) -> dict[str, str]:
    """Those that may be told for a pod as a whole."""
    return {name: text for name, text in quantities.items() if name in (CPU, MEMORY) or name.startswith(HUGE)}


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


def _plus(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total


def _most(first: Amounts, second: Amounts) -> Amounts:
    if not second:
        return first
    return {name: max(first.get(name, 0), second.get(name, 0)) for name in (*first, *second)}
