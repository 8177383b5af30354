"""What the API says of this node. Pure; the words are upstream's."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kybern.api.core_v1 import (
    ContainerImage,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeFeatures,
    NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures,
    NodeStatus,
    NodeSwapStatus,
    NodeSystemInfo,
)
from kybern.daemon.version import VERSION
from kybern.kubelet.cgroups import Room
from kybern.kubelet.convert import Abilities, Image
from kybern.kubelet.eviction.signals import DEFAULT, limit
from kybern.kubelet.machine import Hardware, Identity
from kybern.machinery.quantity import Format, Quantity, parse
from kybern.machinery.struct import replace

MOST_IMAGES = 50
_NAMES = 5


@dataclass(frozen=True, slots=True)
class Reserved:
    """What pods may not have: amounts by resource, and eviction thresholds by signal."""

    amounts: tuple[Mapping[str, str], ...] = ()
    thresholds: Mapping[str, str] = field(default_factory=lambda: DEFAULT)
    max_pods: int = 110


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about the node just now."""

    now: datetime
    hardware: Hardware
    identity: Identity
    addresses: tuple[str, ...]
    hostname: str
    runtime: str
    images: tuple[Image, ...] = ()
    pressures: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    port: int = 10250
    reserved: Reserved = field(default_factory=Reserved)
    abilities: Abilities = field(default_factory=Abilities)
    volumes: tuple[str, ...] = ()
    devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    most_images: int = MOST_IMAGES
    in_cloud: bool = False


def capacity(hardware: Hardware, max_pods: int) -> dict[str, str]:
    return {
        "cpu": str(hardware.cpus),
        "ephemeral-storage": _bytes(hardware.storage // 1024 * 1024),
        "memory": _bytes(hardware.memory // 1024 * 1024),
        "pods": str(max_pods),
        **{name: _bytes(size // 1048576 * 1048576) for name, size in hardware.huge_pages.items()},
    }


def _bytes(size: int) -> str:
    """As the API server spells it: another spelling of the same would seem to be a change at each look."""
    return str(Quantity(size * 10**9, Format.BINARY))


def together(hardware: Hardware, reserved: Reserved, pids: int) -> Room:
    """What pods may have together: the capacity without what is reserved; eviction starts before it is used up."""
    held: dict[str, Quantity] = {}
    for amounts in reserved.amounts:
        for name, text in amounts.items():
            held[name] = held.get(name, Quantity(0)) + parse(text)
    none = Quantity(0)
    kept = held.get("pid", none).value()
    return Room(
        max(0, hardware.cpus * 1000 - held.get("cpu", none).milli()),
        max(0, hardware.memory - held.get("memory", none).value()),
        max(1, pids - kept) if kept and pids else 0,
    )


def held(hardware: Hardware, reserved: Reserved) -> dict[str, Quantity]:
    """What pods may not have, by resource: what is reserved, and what is left free by hard eviction."""
    thresholds = reserved.thresholds
    memory = limit(thresholds.get("memory.available", "0"), hardware.memory)
    storage = limit(thresholds.get("nodefs.available", "0"), hardware.storage)
    found = {"memory": Quantity(memory * 10**9), "ephemeral-storage": Quantity(storage * 10**9)}
    for amounts in reserved.amounts:
        for name, text in amounts.items():
            found[name] = found.get(name, Quantity(0)) + parse(text)
    return found


def allocatable(hardware: Hardware, reserved: Reserved) -> dict[str, str]:
    """What is left of the capacity for pods."""
    found = capacity(hardware, reserved.max_pods)
    huge = Quantity(sum(hardware.huge_pages.values()) * 10**9)
    kept = held(hardware, reserved)
    for name, amount in {**kept, "memory": kept["memory"] + huge}.items():
        if name in found and amount:
            left = max(parse(found[name]).nano - amount.nano, 0)
            found[name] = _spelled(name, left)
    return found


def _spelled(name: str, nano: int) -> str:
    if name == "memory":
        return _bytes(nano // 10**9 // 1024 * 1024)
    return str(Quantity(nano, Format.DECIMAL))


def _addresses(seen: Seen, before: NodeStatus) -> tuple[NodeAddress, ...]:
    """The machine's own, until the cloud's are there: two that write the same field would write it for ever."""
    if seen.in_cloud and before.addresses:
        return before.addresses
    return (
        *(NodeAddress(type="InternalIP", address=address) for address in seen.addresses),
        NodeAddress(type="Hostname", address=seen.hostname),
    )


def status(seen: Seen, before: NodeStatus) -> NodeStatus:
    """The whole status. ``before`` is what the API has."""
    foreign = _foreign(seen, before)
    return replace(
        before,
        capacity=capacity(seen.hardware, seen.reserved.max_pods)
        | foreign
        | {name: str(every) for name, (every, _well) in seen.devices.items()},
        allocatable=allocatable(seen.hardware, seen.reserved)
        | foreign
        | {name: str(well) for name, (_every, well) in seen.devices.items()},
        addresses=_addresses(seen, before),
        daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=seen.port)),
        node_info=_info(seen),
        images=tuple(_images(seen.images, seen.most_images)),
        volumes_in_use=seen.volumes,
        conditions=tuple(_conditions(seen, before.conditions)),
        runtime_handlers=tuple(_handlers(seen.abilities)),
        declared_features=seen.features,
        features=(
            NodeFeatures(supplemental_groups_policy=seen.abilities.strict_groups)
            if seen.abilities.strict_groups is not None
            else None
        ),
    )


def _foreign(seen: Seen, before: NodeStatus) -> dict[str, str]:
    """Extended resources that somebody wrote into the capacity: all of them are for pods."""
    return {
        name: amount for name, amount in before.capacity.items() if "/" in name and name not in seen.devices
    }


def _handlers(found: Abilities) -> Iterator[NodeRuntimeHandler]:
    for handler in found.handlers:
        features = NodeRuntimeHandlerFeatures(
            recursive_read_only_mounts=handler.recursive_read_only, user_namespaces=handler.user_namespaces
        )
        yield NodeRuntimeHandler(name=handler.name, features=features)


def _info(seen: Seen) -> NodeSystemInfo:
    found = seen.identity
    return NodeSystemInfo(
        architecture=found.architecture,
        boot_id=found.boot_id,
        container_runtime_version=seen.runtime,
        kernel_version=found.kernel,
        kubelet_version=VERSION,
        machine_id=found.machine_id,
        operating_system="linux",
        os_image=found.os_image,
        system_uuid=found.system_uuid,
        swap=NodeSwapStatus(capacity=seen.hardware.swap) if seen.hardware.swap else None,
    )


def _images(images: Iterable[Image], most: int) -> Iterator[ContainerImage]:
    """The largest ones; -1 is all."""
    for image in sorted(images, key=lambda found: found.size, reverse=True)[: None if most < 0 else most]:
        names = (*image.digests, *image.tags)[:_NAMES]
        if names:
            yield ContainerImage(names=names, size_bytes=image.size)


def _conditions(seen: Seen, before: Iterable[NodeCondition]) -> Iterator[NodeCondition]:
    old = {condition.type: condition for condition in before}
    made = (
        _either(
            "MemoryPressure", seen,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        _either(
            "DiskPressure", seen,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        _either(
            "PIDPressure", seen,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        _ready(seen),
    )  # fmt: skip
    for condition in made:
        known = old.pop(condition.type, None)
        same = known is not None and known.status == condition.status
        when = known.last_transition_time if same and known is not None else seen.now
        yield replace(condition, last_heartbeat_time=seen.now, last_transition_time=when)
    yield from old.values()


def _either(kind: str, seen: Seen, yes: tuple[str, str], no: tuple[str, str]) -> NodeCondition:
    bad = kind in seen.pressures
    reason, message = yes if bad else no
    return NodeCondition(type=kind, status="True" if bad else "False", reason=reason, message=message)


def _ready(seen: Seen) -> NodeCondition:
    if seen.problems:
        text = ", ".join(seen.problems)
        text = f"[{text}]" if len(seen.problems) > 1 else text
        return NodeCondition(type="Ready", status="False", reason="KubeletNotReady", message=text)
    message = "kubelet is posting ready status"
    return NodeCondition(type="Ready", status="True", reason="KubeletReady", message=message)


def heartbeat_only(old: NodeStatus, new: NodeStatus) -> bool:
    """Whether nothing changed but the time."""
    return replace(old, conditions=_timeless(old)) == replace(new, conditions=_timeless(new))


def _timeless(found: NodeStatus) -> tuple[NodeCondition, ...]:
    return tuple(replace(condition, last_heartbeat_time=None) for condition in found.conditions)


def machine_labels(architecture: str) -> dict[str, str]:
    """Those that say what the machine is, and may never say anything else."""
    return {"kubernetes.io/arch": architecture, "kubernetes.io/os": "linux"}


def labels(hostname: str, architecture: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Those that every node has, and those of --node-labels."""
    own = {
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/hostname": hostname,
        **machine_labels(architecture),
    }
    return {**own, **extra}


def changed_events(name: str, old: Node | None, new: NodeStatus) -> Iterator[tuple[str, str, str]]:
    """Type, reason and message of the events that tell what changed. ``old`` None: the node is new."""
    boot = old.status.node_info.boot_id if old is not None and old.status.node_info is not None else ""
    now = new.node_info.boot_id if new.node_info is not None else ""
    if boot and now and boot != now:
        yield "Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {now}"
    before = {condition.type: condition.status for condition in old.status.conditions} if old else {}
    for condition in new.conditions:
        if before.get(condition.type) == condition.status:
            continue
        if condition.type == "Ready":
            yield is_now(name, "NodeReady" if condition.status == "True" else "NodeNotReady")
        elif condition.type in _OWN:
            yield is_now(name, condition.reason.replace("Kubelet", "Node", 1))


_OWN = frozenset({"MemoryPressure", "DiskPressure", "PIDPressure"})


def is_now(name: str, reason: str) -> tuple[str, str, str]:
    """An event that says what the node is from now on."""
    return "Normal", reason, f"Node {name} status is now: {reason}"
