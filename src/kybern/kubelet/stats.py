"""/stats/summary: what the node, its pods and their containers use, in the form that metrics-server reads."""

from datetime import UTC, datetime
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.kubelet import labels, machine
from kybern.kubelet.surroundings import Surroundings


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Stats:
    """Asks the runtime each time it is asked."""

    def __init__(self, here: Surroundings) -> None:
        self._here = here

    async def summary(self) -> dict[str, Any]:
        answer = await self._here.runtime.call("ListContainerStats", pb.ListContainerStatsRequest())
        pods: dict[str, dict[str, Any]] = {}
        for found in answer.stats:
            tags = found.attributes.labels
            uid = tags.get(labels.POD_UID, "")
            if not uid:
                continue
            pod = pods.setdefault(uid, _pod(tags))
            pod["containers"].append(_container(found, tags.get(labels.CONTAINER_NAME, "")))
        return {"node": self._node(), "pods": [_summed(pod) for pod in pods.values()]}

    def _node(self) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = machine.pressure(self._here.volumes.root)
        used = found.memory_total - found.memory_available
        return {
            "nodeName": self._here.machine.node,
            "cpu": {"time": now, "usageCoreNanoSeconds": _busy()},
            "memory": {
                "time": now,
                "availableBytes": found.memory_available,
                "usageBytes": used,
                "workingSetBytes": used,
            },
            "fs": {
                "time": now,
                "availableBytes": found.disk_available,
                "capacityBytes": found.disk_total,
                "usedBytes": found.disk_total - found.disk_available,
            },
        }


def _busy() -> int:
    """Nanoseconds of CPU that the machine spent since it booted, from /proc/stat (hundredths of a second)."""
    with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123  # one line of a pseudo file
        fields = [int(word) for word in file.readline().split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) * 10_000_000


def _pod(tags: Any) -> dict[str, Any]:
    names = {
        "name": tags.get(labels.POD_NAME, ""),
        "namespace": tags.get(labels.POD_NAMESPACE, ""),
        "uid": tags.get(labels.POD_UID, ""),
    }
    return {"podRef": names, "containers": []}


def _container(found: Any, name: str) -> dict[str, Any]:
    cpu, memory = found.cpu, found.memory
    return {
        "name": name,
        "cpu": {
            "time": _time(cpu.timestamp),
            "usageNanoCores": cpu.usage_nano_cores.value,
            "usageCoreNanoSeconds": cpu.usage_core_nano_seconds.value,
        },
        "memory": {
            "time": _time(memory.timestamp),
            "usageBytes": memory.usage_bytes.value,
            "workingSetBytes": memory.working_set_bytes.value,
            "rssBytes": memory.rss_bytes.value,
        },
    }


def _summed(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod's own figures: what its containers use together."""
    for part in ("cpu", "memory"):
        each = [container[part] for container in pod["containers"]]
        pod[part] = {
            key: max(found[key] for found in each) if key == "time" else sum(found[key] for found in each)
            for key in each[0]
        }
    return pod
