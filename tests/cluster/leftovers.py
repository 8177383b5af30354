"""What pods leave on a machine, and whether each of it belongs to a pod that is wanted there."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# Prints what the machine holds of pods, as one JSON object. Only the standard library, and containerd's own client.
LOOK = r"""
import json, os, re, subprocess

def names(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []

def ctr(*words):
    done = subprocess.run(["ctr", "-n", "k8s.io", *words], check=True, capture_output=True, text=True, timeout=20)
    return done.stdout

uid = re.compile(r"/var/lib/kubelet/pods/([^/ ]+)")
with open("/proc/mounts") as mounts:
    mounted = sorted({found[1] for line in mounts if (found := uid.search(line))})
groups = set()
for _, below, _ in os.walk("/sys/fs/cgroup"):
    groups.update(name[3:] for name in below if re.fullmatch("pod[0-9a-f]{8}-.*", name))
tasks = {line.split()[0]: line.split()[2] for line in ctr("tasks", "ls").splitlines()[1:]}
containers = []
for name in ctr("containers", "ls", "-q").split():
    labels = json.loads(ctr("containers", "info", name)).get("Labels") or {}
    containers.append({
        "id": name,
        "sandbox": labels.get("io.cri-containerd.kind") == "sandbox",
        "pod": labels.get("io.kubernetes.pod.uid", ""),
        "task": tasks.get(name, ""),
    })
addresses = [name for net in names("/run/kybern/cni") for name in names("/run/kybern/cni/" + net)]
print(json.dumps({
    "directories": names("/var/lib/kubelet/pods"),
    "logs": [name.rpartition("_")[2] for name in names("/var/log/pods")],
    "mounts": mounted,
    "cgroups": sorted(groups),
    "namespaces": [name for name in names("/run/netns") if name.startswith("cni-")],
    "addresses": [name for name in addresses if re.fullmatch(r"[0-9.]+|[0-9a-f:]+", name)],
    "containers": containers,
}))
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What ``LOOK`` printed on one machine: uids of pods, or ids of containers, by what they were found in."""

    directories: Sequence[str]
    logs: Sequence[str]
    mounts: Sequence[str]
    cgroups: Sequence[str]
    namespaces: Sequence[str]
    addresses: Sequence[str]
    containers: Sequence[dict[str, Any]]

    @classmethod
    def parse(cls, text: str) -> "Seen":
        return cls(**json.loads(text))


def faults(seen: Seen, pods: Iterable[dict[str, Any]]) -> list[str]:
    """What is on a machine and should not be, or the reverse; ``pods`` are those of the API that are placed there."""
    wanted = {pod["metadata"]["uid"]: pod for pod in pods}
    found = [
        f"{what} of pod {uid}, which is no more"
        for what in ("directories", "logs", "mounts", "cgroups")
        for uid in getattr(seen, what)
        if uid not in wanted and not _is_hash(uid)
    ]
    found += _of_containers(seen, wanted)
    networked = [pod for pod in wanted.values() if _runs(pod) and not pod["spec"].get("hostNetwork")]
    if len(seen.namespaces) != len(networked):
        found.append(f"{len(seen.namespaces)} network namespaces for {len(networked)} running pods")
    addresses = {pod["status"].get("podIP", "") for pod in networked}
    if addresses != set(seen.addresses):
        found.append(
            f"addresses given and not in use, or the reverse: {sorted(set(seen.addresses) ^ addresses)}"
        )
    return found


def _of_containers(seen: Seen, wanted: dict[str, dict[str, Any]]) -> list[str]:
    found = [
        f"container {one['id']} of pod {one['pod']}, which is no more"
        for one in seen.containers
        if one["pod"] not in wanted
    ]
    running = {one["id"] for one in seen.containers if one["task"] == "RUNNING" and not one["sandbox"]}
    told = {
        status["containerID"].rpartition("/")[2]
        for pod in wanted.values()
        for status in statuses(pod)
        if "running" in status["state"]
    }
    found += [f"container {one} runs, and no pod's status has it" for one in sorted(running - told)]
    found += [f"container {one} is said to run, and does not" for one in sorted(told - running)]
    for uid, pod in wanted.items():
        sandboxes = [one for one in seen.containers if one["sandbox"] and one["pod"] == uid and one["task"]]
        if _runs(pod) and len(sandboxes) != 1:
            found.append(f"pod {pod['metadata']['name']} has {len(sandboxes)} sandboxes")
    return found


def statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _runs(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") in ("Running", "Pending") and bool(pod["status"].get("podIP"))


def _is_hash(uid: str) -> bool:
    """The uid of a static pod is a hash of its file; the API has a mirror of it, under another uid."""
    return bool(re.fullmatch("[0-9a-f]{32}", uid))
