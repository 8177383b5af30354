"""The containers of a pod, by their sort: init containers, sidecars among them, all others, ephemeral ones. Pure."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec

from kybern.api.core_v1 import Container, EphemeralContainer, Pod, VolumeMount

_FIELDS = tuple(field.name for field in msgspec.structs.fields(Container))


def is_sidecar(container: Container) -> bool:
    """An init container that goes on running beside the others."""
    return container.restart_policy == "Always"


def most_at_once(pod: Pod, of: Callable[[Container], int]) -> int:
    """What a pod has of something at one time: init containers run one by one, beside the sidecars before them."""
    beside, most = 0, 0
    for container in pod.spec.init_containers:
        if is_sidecar(container):
            beside += of(container)
        most = max(most, beside + (0 if is_sidecar(container) else of(container)))
    return max(most, beside + sum(of(container) for container in pod.spec.containers))


def containers(pod: Pod) -> Iterator[tuple[Container, bool]]:
    """All containers of a pod in their order; the second value tells init containers."""
    for container in pod.spec.init_containers:
        yield container, True
    for container in (*pod.spec.containers, *ephemeral(pod)):
        yield container, False


def ephemeral(pod: Pod) -> tuple[Container, ...]:
    """Those that were added to the running pod, for looking into it (kubectl debug)."""
    return tuple(_container(found) for found in pod.spec.ephemeral_containers)


@lru_cache(maxsize=256)
def _kept(encoded: bytes) -> Container:
    found = msgspec.json.decode(encoded, type=EphemeralContainer)
    return Container(**{name: getattr(found, name) for name in _FIELDS})


def _container(found: EphemeralContainer) -> Container:
    """What both have in common. Kept by content, so that the same container is the same object at each look."""
    return _kept(msgspec.json.encode(found))


def target_of(pod: Pod, name: str) -> str:
    """The container whose processes an ephemeral one shall see; empty where it is none of these, or wants none."""
    return next((f.target_container_name for f in pod.spec.ephemeral_containers if f.name == name), "")


def kind_of(pod: Pod, name: str) -> str:
    """The field of the spec that a container is in."""
    if any(found.name == name for found in pod.spec.init_containers):
        return "initContainers"
    if any(found.name == name for found in pod.spec.ephemeral_containers):
        return "ephemeralContainers"
    return "containers"


def mounted_at(mount: VolumeMount) -> str:
    """Where a container sees a volume: a path that is not from the root on is meant so."""
    return mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}"
