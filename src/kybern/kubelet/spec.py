"""What the runtime is asked to make: the CRI configurations of a sandbox and of a container. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Container, Pod
from kybern.kubelet import labels, names, resources, security, swap
from kybern.kubelet.devices.allocation import Equipment
from kybern.kubelet.environment import expand
from kybern.kubelet.swap import Swap
from kybern.kubelet.sysctls import dotted
from kybern.kubelet.user_namespaces import on_node

_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP, "": pb.TCP}
_PROPAGATION = {
    "": pb.PROPAGATION_PRIVATE, "None": pb.PROPAGATION_PRIVATE,
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER, "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}  # fmt: skip
SWAP_MAX = "memory.swap.max"
# SIGRTMIN+1 is SIGRTMINPLUS1 in CRI: names there have no signs.
_SIGNS = str.maketrans({"+": "PLUS", "-": "MINUS"})


@dataclass(frozen=True, slots=True)
class Machine:
    """What is the same for all pods of a node, as far as configurations show it."""

    node: str = ""
    memory: int = 0
    domain: str = "cluster.local"
    cgroup_root: str = "/kubepods"
    cgroup_v2: bool = False
    huge_pages: tuple[str, ...] = ()
    swap: Swap = field(default_factory=Swap)
    log_root: str = "/var/log/pods"
    cpu_period: int = resources.PERIOD
    cpu_quota: bool = True
    profiles: security.Profiles = field(default_factory=security.Profiles)


@dataclass(frozen=True, slots=True)
class Bind:
    """One mount of a container: a path of the node, or an image (and a path in it), at a path inside."""

    inside: str
    outside: str
    read_only: bool = False
    propagation: str = ""
    recursive: bool = False
    image: str = ""
    below: str = ""


def log_directory(pod: Pod, root: str) -> str:
    meta = pod.metadata
    return f"{root}/{meta.namespace}_{meta.name}_{meta.uid}"


def sandbox_config(pod: Pod, attempt: int, resolver: names.Resolver, machine: Machine, users: Any) -> Any:
    """A PodSandboxConfig. ``users`` is CRI's UserNamespace."""
    meta = pod.metadata
    config = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, attempt=attempt
        ),
        log_directory=log_directory(pod, machine.log_root),
        labels=labels.sandbox_labels(pod),
        annotations=dict(meta.annotations),
        dns_config=pb.DNSConfig(
            servers=resolver.servers, searches=resolver.searches, options=resolver.options
        ),
        port_mappings=list(_ports(pod)),
    )
    if not pod.spec.host_network:
        config.hostname = names.kernel_hostname(pod, machine.domain, machine.node)
    sysctls = {dotted(found.name): found.value for found in security.of_pod(pod).sysctls}
    config.linux.CopyFrom(
        pb.LinuxPodSandboxConfig(
            cgroup_parent=resources.cgroup_of(pod, machine.cgroup_root),
            security_context=security.sandbox_context(pod, users),
            sysctls=sysctls,
            resources=_of_whole(resources.total(pod, overhead=False), machine),
            overhead=_of_overhead(pod, machine),
        )
    )
    return config


def _of_whole(whole: resources.Total, machine: Machine) -> Any:
    """All containers together; a sandbox that is a machine of its own is made as large."""
    return pb.LinuxContainerResources(
        cpu_shares=resources.shares(whole.milli_cpu),
        memory_limit_in_bytes=whole.memory_limit or 0,
        cpu_period=machine.cpu_period,
        cpu_quota=resources.quota(whole.cpu_limit or 0, machine.cpu_period),
    )


def _of_overhead(pod: Pod, machine: Machine) -> Any:
    """What the sandbox itself takes (RuntimeClass)."""
    if not pod.spec.overhead:
        return None
    cpu = resources.amount(pod.spec.overhead, "cpu").milli()
    memory = resources.amount(pod.spec.overhead, "memory").value()
    return _of_whole(resources.Total(cpu, cpu, memory), machine)


def _ports(pod: Pod) -> Iterable[Any]:
    if pod.spec.host_network:
        return
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for port in container.ports:
            if port.host_port:
                yield pb.PortMapping(
                    protocol=_PROTOCOLS[port.protocol],
                    container_port=port.container_port or 0,
                    host_port=port.host_port,
                    host_ip=port.host_ip,
                )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was gathered for one container before it is made."""

    image: str
    attempt: int
    variables: Mapping[str, str]
    binds: tuple[Bind, ...] = ()
    image_uid: int | None = None
    image_user: str = ""
    asked_image: str = ""
    target: str = ""
    equipment: Equipment = field(default_factory=Equipment)
    cpus: str = ""
    devices: tuple[Any, ...] = ()
    nodes: str = ""
    users: Any = field(default_factory=on_node)
    exclusive: bool = False
    """Whether the CPUs are its own: it may use all of their time."""
    round: int = 0


def container_config(pod: Pod, container: Container, ready: Prepared, machine: Machine) -> Any:
    """A ContainerConfig."""
    config = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=container.name, attempt=ready.attempt),
        image=pb.ImageSpec(image=ready.image, user_specified_image=ready.asked_image or container.image),
        command=[expand(word, ready.variables) for word in container.command],
        args=[expand(word, ready.variables) for word in container.args],
        working_dir=container.working_dir,
        envs=[pb.KeyValue(key=name, value=value.encode()) for name, value in ready.variables.items()],
        mounts=[_mount(bind, ready.users) for bind in ready.binds],
        labels=labels.container_labels(pod, container),
        annotations=labels.container_annotations(pod, container, ready.attempt, ready.round),
        log_path=f"{container.name}/{ready.attempt}.log",
        stdin=bool(container.stdin),
        stdin_once=bool(container.stdin_once),
        tty=bool(container.tty),
        linux=pb.LinuxContainerConfig(
            resources=container_resources(pod, container, machine),
            security_context=security.container_context(
                pod,
                container,
                (ready.image_uid, ready.image_user),
                security.namespaces(pod, ready.users, ready.target),
                machine.profiles,
            ),
        ),
    )
    config.linux.resources.cpuset_cpus = ready.cpus
    config.linux.resources.cpuset_mems = ready.nodes
    if ready.exclusive and machine.cpu_quota:
        config.linux.resources.cpu_quota = -1
    config.mounts.extend(ready.equipment.mounts)
    config.devices.extend((*ready.equipment.devices, *ready.devices))
    config.CDI_devices.extend(ready.equipment.named)
    config.annotations.update(ready.equipment.annotations)
    if container.lifecycle is not None and container.lifecycle.stop_signal:
        config.stop_signal = pb.Signal.Value(container.lifecycle.stop_signal.translate(_SIGNS))
    return config


def _mount(bind: Bind, users: Any) -> Any:
    """Inside, files of the node's root belong to the pod's: the mount maps owners as the pod's users are mapped."""
    return pb.Mount(
        container_path=bind.inside,
        host_path=bind.outside,
        readonly=bind.read_only,
        propagation=_PROPAGATION[bind.propagation],
        recursive_read_only=bind.recursive,
        image=pb.ImageSpec(image=bind.image) if bind.image else None,
        image_sub_path=bind.below,
        uidMappings=users.uids,
        gidMappings=users.gids,
    )


def _huge_pages(container: Container, machine: Machine) -> Iterable[Any]:
    """A limit for each size of page that the machine has: none for a container that does not ask for it."""
    most = resources.limits(container)
    for name in machine.huge_pages:
        size = resources.page_size(name)
        yield pb.HugepageLimit(page_size=size, limit=resources.amount(most, name).value())


def container_resources(pod: Pod, container: Container, machine: Machine) -> Any:
    """Shares, quota and limits of one container."""
    wanted = resources.requests(container)
    limit = resources.own_limit(pod, container, "memory").value()
    cpu = resources.own_limit(pod, container, "cpu").milli()
    made = pb.LinuxContainerResources(
        cpu_shares=resources.shares(resources.amount(wanted, "cpu").milli()),
        memory_limit_in_bytes=limit,
        oom_score_adj=resources.oom_score(pod, container, machine.memory),
    )
    if machine.cpu_quota:
        made.cpu_period, made.cpu_quota = machine.cpu_period, resources.quota(cpu, machine.cpu_period) or -1
    made.hugepage_limits.extend(_huge_pages(container, machine))
    if machine.cgroup_v2:
        # All of a container's processes die together when one is out of memory, as upstream sets it.
        made.unified["memory.oom.group"] = "1"
    if machine.swap.controlled and machine.cgroup_v2:
        made.unified[SWAP_MAX] = str(swap.limit(pod, container, machine.swap, v2=True))
    elif machine.swap.controlled:
        # Version 1 limits memory and swap together: as much as memory alone leaves nothing to swap.
        made.memory_swap_limit_in_bytes = limit
    return made
