"""What a pod that is given up is told, and what its event is annotated with. Pure.

The sentences are upstream's (pkg/kubelet/eviction/helpers.go: evictionMessage), each with a space at its end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Pod
from kybern.kubelet.eviction.ranking import memory
from kybern.kubelet.eviction.signals import Amount, Threshold, limit, shown
from kybern.kubelet.resources import amount
from kybern.kubelet.stats.use import ContainerUse, PodUse


@dataclass(frozen=True, slots=True)
class _Larger:
    """What uses more than it asked for."""

    kind: str
    name: str
    used: str
    asked: str


def message(threshold: Threshold, pod: Pod, use: PodUse | None, seen: Mapping[str, Amount]) -> str:
    """Why a pod goes because of a threshold."""
    name = threshold.resource
    sentences = [f"The node was low on resource: {name}. "]
    found = seen.get(threshold.signal)
    if found is not None:
        line = shown(threshold.signal, limit(threshold.value, found.whole))
        left = shown(threshold.signal, found.available)
        sentences.append(f"Threshold quantity: {line}, available: {left}. ")
    for one in _larger(name, pod, use):
        text = f"{one.kind} {one.name} was using {one.used}, request is {one.asked}"
        sentences.append(f"{text}, has larger consumption of {name}. ")
    return "".join(sentences)


def annotations(threshold: Threshold, pod: Pod, use: PodUse | None) -> Mapping[str, str]:
    """The same for programs; nothing without measurements of the pod."""
    if use is None:
        return {}
    larger = list(_larger(threshold.resource, pod, use))
    containers = [one for one in larger if one.kind == "Container"]
    found = {
        "starved_resource": threshold.resource,
        "offending_containers": ",".join(one.name for one in containers),
        "offending_containers_usage": ",".join(one.used for one in containers),
    }
    for one in larger:
        if one.kind == "Pod":
            found |= {"offending_pod": one.name, "offending_pod_usage": one.used}
    return found


def _larger(name: str, pod: Pod, use: PodUse | None) -> Iterator[_Larger]:
    if use is None:
        return
    own = pod.spec.resources
    if name == "memory" and own is not None and name in own.requests and use.memory is not None:
        yield _Larger("Pod", pod.metadata.name, shown("", memory(use)), str(amount(own.requests, name)))
    containers = {one.name: one for one in (*pod.spec.containers, *pod.spec.init_containers)}
    for found_use in use.containers:
        container, used = containers.get(found_use.name), _used(found_use, name)
        if container is None or used is None:
            continue
        asked = amount(container.resources.requests if container.resources else {}, name)
        if used > asked.value():
            yield _Larger("Container", container.name, shown("", used), str(asked))


def _used(found: ContainerUse, name: str) -> int | None:
    if name == "memory":
        return found.memory.working_set if found.memory is not None else None
    return found.rootfs.used + found.logs.used if name == "ephemeral-storage" else None
