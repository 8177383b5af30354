"""Who has what, in the messages of the wire. Pure; what is listed how is upstream's (pkg/kubelet/apis/podresources)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from kybern._proto import podresources_pb2 as pb
from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.devices.ledger import Given
from kybern.kubelet.dra.claims import Prepared
from kybern.kubelet.memory.ledger import Block, bits
from kybern.kubelet.parts import is_sidecar
from kybern.kubelet.topology.hints import Nodes

type Near = Mapping[str, Mapping[str, Nodes]]
"""The NUMA nodes of every device, by resource (0: it does not say)."""


class Holdings(Protocol):
    """What the node gave. A container is a pod's uid and a name."""

    def cpus(self, uid: str, container: str) -> Iterable[int]: ...
    def memory(self, uid: str, container: str) -> Iterable[Block]: ...
    def devices(self, uid: str, container: str) -> Iterable[Given]: ...
    def claims(self, pod: Pod, container: Container) -> Iterable[Prepared]: ...
    def near(self) -> Near: ...


def pod_resources(pod: Pod, held: Holdings) -> Any:
    """One pod: its sidecars, then its containers; init containers that end have nothing for long."""
    meta = pod.metadata
    listed = (*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers)
    return pb.PodResources(
        name=meta.name, namespace=meta.namespace, containers=[_container(pod, one, held) for one in listed]
    )


def as_alpha(found: Any) -> Any:
    """What of it v1alpha1 has: the devices. Its messages are the same on the wire, as far as they go."""
    containers = [
        pb.ContainerResources(
            name=one.name,
            devices=[
                pb.ContainerDevices(resource_name=device.resource_name, device_ids=device.device_ids)
                for device in one.devices
            ],
        )
        for one in found.containers
    ]
    return pb.PodResources(name=found.name, namespace=found.namespace, containers=containers)


def allocatable(
    cpus: Iterable[int], memory: Iterable[Block], well: Mapping[str, Iterable[str]], near: Near
) -> Any:
    """Everything that could be given: the capacity, not what is free."""
    devices = [
        one
        for name, found in sorted(well.items())
        for each in sorted(found)
        for one in _device(name, each, near)
    ]
    return pb.AllocatableResourcesResponse(
        cpu_ids=sorted(cpus), memory=[_memory(one) for one in memory], devices=devices
    )


def _container(pod: Pod, container: Container, held: Holdings) -> Any:
    uid, name, near = pod.metadata.uid, container.name, held.near()
    devices = (
        one
        for given in held.devices(uid, name)
        for each in given.devices
        for one in _device(given.resource, each, near)
    )
    return pb.ContainerResources(
        name=name,
        cpu_ids=sorted(held.cpus(uid, name)),
        memory=[_memory(one) for one in held.memory(uid, name)],
        devices=devices,
        dynamic_resources=[_claim(one) for one in held.claims(pod, container)],
    )


def _device(resource: str, device: str, near: Near) -> Iterator[Any]:
    """Once for each node that it is near to; once without any, if it does not say."""
    nodes = bits(near.get(resource, {}).get(device, 0))
    for topology in [_topology((node,)) for node in nodes] or [None]:
        yield pb.ContainerDevices(resource_name=resource, device_ids=[device], topology=topology)


def _memory(block: Block) -> Any:
    return pb.ContainerMemory(
        memory_type=block.type, size=block.size, topology=_topology(block.numa_affinity)
    )


def _topology(nodes: Iterable[int]) -> Any:
    return pb.TopologyInfo(nodes=[pb.NUMANode(ID=node) for node in nodes])


def _claim(found: Prepared) -> Any:
    devices = [
        pb.ClaimResource(
            cdi_devices=[pb.CDIDevice(name=name) for name in one.names],
            driver_name=one.driver,
            pool_name=one.pool,
            device_name=one.device,
        )
        for one in found.devices
    ]
    return pb.DynamicResource(claim_name=found.name, claim_namespace=found.namespace, claim_resources=devices)
