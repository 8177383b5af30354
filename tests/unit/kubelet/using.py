"""What is in use on a node for tests of eviction; sizes in MiB."""

from typing import Any

from kybern.api.core_v1 import Pod, ResourceRequirements
from kybern.kubelet.stats.use import ContainerUse, Cpu, Disk, FileSystem, Memory, NodeUse, PodUse
from kybern.machinery.struct import replace
from tests.unit.kubelet.making import container, pod

MIB = 1024**2


def use(uid: str, memory: int = 0, disk: int = 0, processes: int = 0, **more: Any) -> PodUse:
    """A pod with one container; sizes in MiB. All it writes is in its own layer."""
    one = ContainerUse(
        "c", "id", 0.0, None, Memory(0.0, memory * MIB, memory * MIB), Disk(0.0, disk * MIB, disk)
    )
    given: dict[str, Any] = {
        "memory": Memory(0.0, memory * MIB, memory * MIB), "processes": processes, "containers": (one,),
    }  # fmt: skip
    return PodUse(uid, uid, "default", **(given | more))


def node_use(*pods: PodUse, memory: int = 500, dedicated: bool = False) -> NodeUse:
    """A node with so many MiB of memory left of 1000, and an empty disk."""
    fs = FileSystem(0.0, 900 * MIB, 1000 * MIB, 900, 1000)
    used = Memory(0.0, 0, (1000 - memory) * MIB, available=memory * MIB)
    return NodeUse(
        "n1", 0.0, 0.0, Cpu(0.0, 0), used, 1000 * MIB, fs, fs, Disk(), dedicated, 100, 1000, pods=pods
    )


def named(uid: str, priority: int = 0, memory: str = "0", storage: str = "0") -> Pod:
    asked = ResourceRequirements(requests={"memory": memory, "ephemeral-storage": storage})
    found = pod(container(resources=asked), priority=priority)
    return replace(found, metadata=replace(found.metadata, uid=uid, name=uid))
