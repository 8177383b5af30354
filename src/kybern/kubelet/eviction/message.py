"""What a pod that is given up is told. Pure; the sentences are upstream's, each with a space at its end."""

from collections.abc import Iterator, Mapping

from kybern.api.core_v1 import Pod
from kybern.kubelet.eviction.ranking import memory
from kybern.kubelet.eviction.signals import Amount, Threshold, limit, shown
from kybern.kubelet.resources import amount
from kybern.kubelet.stats.use import ContainerUse, PodUse


def message(threshold: Threshold, pod: Pod, use: PodUse | None, seen: Mapping[str, Amount]) -> str:
    """Why a pod goes because of a threshold."""
    return "".join(_sentences(threshold, pod, use, seen))


def _sentences(
    threshold: Threshold, pod: Pod, use: PodUse | None, seen: Mapping[str, Amount]
) -> Iterator[str]:
    name = threshold.resource
    yield f"The node was low on resource: {name}. "
    found = seen.get(threshold.signal)
    if found is not None:
        line = shown(threshold.signal, limit(threshold.value, found.whole))
        left = shown(threshold.signal, found.available)
        yield f"Threshold quantity: {line}, available: {left}. "
    if use is None:
        return
    own = pod.spec.resources
    if name == "memory" and own is not None and name in own.requests and use.memory is not None:
        yield _larger("Pod", pod.metadata.name, memory(use), str(amount(own.requests, name)), name)
    containers = {one.name: one for one in (*pod.spec.containers, *pod.spec.init_containers)}
    for found_use in use.containers:
        container, used = containers.get(found_use.name), _used(found_use, name)
        if container is None or used is None:
            continue
        asked = amount(container.resources.requests if container.resources else {}, name)
        if used > asked.value():
            yield _larger("Container", container.name, used, str(asked), name)


def _used(found: ContainerUse, name: str) -> int | None:
    if name == "memory":
        return found.memory.working_set if found.memory is not None else None
    return found.rootfs.used + found.logs.used if name == "ephemeral-storage" else None


def _larger(kind: str, name: str, used: int, asked: str, resource: str) -> str:
    text = f"{kind} {name} was using {shown('', used)}, request is {asked}"
    return f"{text}, has larger consumption of {resource}. "
