"""/stats/summary: what is in use, in the form that metrics-server reads (kubelet/pkg/apis/stats/v1alpha1). Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from kybern.kubelet.stats.use import (
    ContainerUse,
    Cpu,
    Disk,
    FileSystem,
    Interface,
    Memory,
    NodeUse,
    PodUse,
    Stall,
    Stalls,
    SwapUse,
    VolumeUse,
    total,
)

type Raw = dict[str, Any]


def when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(found: NodeUse, *, only_cpu_and_memory: bool = False) -> Raw:
    """The whole answer; of pods whose runtime statistics are there."""
    pods = [_pod(found, pod, brief=only_cpu_and_memory) for pod in found.pods]
    return {"node": _node(found, brief=only_cpu_and_memory), "pods": pods}


def _node(found: NodeUse, *, brief: bool) -> Raw:
    node: Raw = {
        "nodeName": found.name,
        "startTime": when(found.booted),
        "cpu": _cpu(found.cpu) | _stalled(found.stalls, "cpu"),
        "memory": _memory(found.memory) | _stalled(found.stalls, "memory"),
        **_io(found.time, found.stalls),
        **_swap(found.swap),
        "systemContainers": list(_system(found)),
    }
    if brief:
        return node
    return node | {
        "network": _network(found.time, found.interfaces),
        "fs": _whole(found.fs),
        "runtime": {
            "imageFs": _part(found.image_fs, found.images),
            "containerFs": _part(
                found.image_fs, total(c.rootfs for pod in found.pods for c in pod.containers)
            ),
        },
        "rlimit": {"time": when(found.time), "maxpid": found.most_processes, "curproc": found.processes},
    }


def _system(found: NodeUse) -> Iterator[Raw]:
    for one in found.system:
        made: Raw = {"name": one.name, "startTime": when(one.started)}
        if one.cpu is not None:
            made["cpu"] = _cpu(one.cpu) | _stalled(one.stalls, "cpu")
        made["memory"] = _memory(one.memory) | _stalled(one.stalls, "memory")
        yield made | _io(found.time, one.stalls)


def _pod(node: NodeUse, pod: PodUse, *, brief: bool) -> Raw:
    made: Raw = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": when(pod.started or node.booted),
        "containers": [_container(node, one, brief=brief) for one in pod.containers],
    }
    if pod.cpu is not None:
        made["cpu"] = _cpu(pod.cpu) | _stalled(pod.stalls, "cpu")
    if pod.memory is not None:
        made["memory"] = _memory(pod.memory) | _stalled(pod.stalls, "memory")
    made |= _io(node.time, pod.stalls) | _swap(pod.swap)
    if brief:
        return made
    if pod.interfaces:
        made["network"] = _network(node.time, pod.interfaces)
    volumes = [_volume(node, pod, name, disk) for name, disk in pod.volumes.items()]
    volumes += [_claimed(pod, name, use) for name, use in pod.claimed.items()]
    if volumes:
        made["volume"] = volumes
    made["ephemeral-storage"] = _part(node.fs, pod.ephemeral)
    made["process_stats"] = {"process_count": pod.processes}
    return made


def _container(node: NodeUse, found: ContainerUse, *, brief: bool) -> Raw:
    made: Raw = {"name": found.name, "startTime": when(found.started or node.booted)}
    if found.cpu is not None:
        made["cpu"] = _cpu(found.cpu) | _stalled(found.stalls, "cpu")
    if found.memory is not None:
        made["memory"] = _memory(found.memory) | _stalled(found.stalls, "memory")
    made |= _io(node.time, found.stalls) | _swap(found.swap)
    if not brief:
        made["rootfs"] = _part(node.image_fs, found.rootfs)
        made["logs"] = _part(node.fs, found.logs)
    return made


def _volume(node: NodeUse, pod: PodUse, name: str, disk: Disk) -> Raw:
    return {"name": name} | _part(node.fs, disk)


def _claimed(pod: PodUse, name: str, found: VolumeUse) -> Raw:
    made: Raw = {
        "name": name,
        "time": when(found.time),
        "availableBytes": found.available,
        "capacityBytes": found.capacity,
        "usedBytes": found.used,
        "inodesFree": found.inodes_free,
        "inodes": found.inodes,
        "inodesUsed": found.inodes_used,
        "pvcRef": {"name": pod.claims.get(name, ""), "namespace": pod.namespace},
    }
    return {key: value for key, value in made.items() if value is not None}


def _cpu(found: Cpu) -> Raw:
    made: Raw = {"time": when(found.time), "usageCoreNanoSeconds": found.total}
    return made if found.rate is None else {"usageNanoCores": found.rate} | made


def _memory(found: Memory) -> Raw:
    made: Raw = {
        "time": when(found.time),
        "usageBytes": found.usage,
        "workingSetBytes": found.working_set,
        "rssBytes": found.rss,
        "pageFaults": found.faults,
        "majorPageFaults": found.major_faults,
    }
    return made if found.available is None else made | {"availableBytes": found.available}


def _stalled(found: Mapping[str, Stalls], resource: str) -> Raw:
    if resource not in found:
        return {}
    both = found[resource]
    return {"psi": {"full": _stall(both.full), "some": _stall(both.some)}}


def _stall(found: Stall) -> Raw:
    return {"total": found.total, "avg10": found.avg10, "avg60": found.avg60, "avg300": found.avg300}


def _io(time: float, found: Mapping[str, Stalls]) -> Raw:
    return {"io": {"time": when(time)} | _stalled(found, "io")} if "io" in found else {}


def _swap(found: SwapUse | None) -> Raw:
    if found is None:
        return {}
    made: Raw = {"time": when(found.time), "swapUsageBytes": found.usage}
    return {"swap": made if found.available is None else made | {"swapAvailableBytes": found.available}}


def _whole(fs: FileSystem) -> Raw:
    return _part(fs, Disk(fs.time, fs.used, fs.inodes - fs.inodes_free))


def _part(fs: FileSystem, disk: Disk) -> Raw:
    return {
        "time": when(disk.time or fs.time),
        "availableBytes": fs.available,
        "capacityBytes": fs.capacity,
        "usedBytes": disk.used,
        "inodesFree": fs.inodes_free,
        "inodes": fs.inodes,
        "inodesUsed": disk.inodes,
    }


def _network(time: float, interfaces: tuple[Interface, ...]) -> Raw:
    """The first interface stands for the whole, as upstream has it; all are listed."""
    listed = [_interface(one) for one in interfaces]
    first: Mapping[str, Any] = listed[0] if listed else {}
    return {"time": when(time), **first, "interfaces": listed}


def _interface(found: Interface) -> Raw:
    return {
        "name": found.name,
        "rxBytes": found.received,
        "rxErrors": found.received_errors,
        "txBytes": found.sent,
        "txErrors": found.sent_errors,
    }
