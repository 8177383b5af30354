"""Features that a kubelet declares in ``status.declaredFeatures``, and what needs them (KEP-5328). Pure.

So that a pod goes only to a kubelet that can do what it asks for, while kubelets of several versions are in use. A feature
that needs nothing of kubelets, or that is off by default, is not here.
"""

from collections.abc import Iterator
from typing import Any

from kybern.api.core_v1 import Pod
from kybern.machinery.kind import Raw
from kybern.machinery.quantity import parse

RESTART_ALL = "RestartAllContainersOnContainerExits"
RESIZE_POD = "InPlacePodLevelResourcesVerticalScaling"
RESIZE_INIT = "InPlacePodVerticalScalingInitContainers"
WEB_SOCKETS = "ExtendWebSocketsToKubelet"
"""The kubelet takes WebSockets of v5 and tunnels itself, so that an API server may pass them on as they are."""
RESIZE_GUARANTEED_CPU = "GuaranteedQoSPodCPUResize"


def of_kubelet(cpu_policy: str) -> tuple[str, ...]:
    """What our kubelet declares, in the order that the API asks for.

    CPUs of their own (cpuManagerPolicy static) are not resized.
    """
    found = [RESTART_ALL, RESIZE_POD, RESIZE_INIT, WEB_SOCKETS] + (
        [RESIZE_GUARANTEED_CPU] if cpu_policy == "none" else []
    )
    return tuple(sorted(found))


def for_scheduling(pod: Pod) -> frozenset[str]:
    """What the node of a pod has to declare."""
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        if any(rule.action == "RestartAllContainers" for rule in container.restart_policy_rules):
            return frozenset((RESTART_ALL,))
    return frozenset()


def for_update(old: Raw, new: Raw) -> Iterator[str]:
    """What the node of a pod has to declare so that the pod may be changed so, in the order of the names."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    guaranteed = (old.get("status") or {}).get("qosClass", "Guaranteed") == "Guaranteed"
    if guaranteed and _cpus(before) != _cpus(after):
        yield RESIZE_GUARANTEED_CPU
    if _read(before.get("resources")) != _read(after.get("resources")):
        yield RESIZE_POD
    if _of_init(before) != _of_init(after):
        yield RESIZE_INIT


def _cpus(spec: Raw) -> list[int]:
    asked = [
        ((one.get("resources") or {}).get("requests") or {}).get("cpu", "0")
        for one in spec.get("containers") or ()
    ]
    return [parse(str(text)).nano for text in asked]


def _of_init(spec: Raw) -> list[dict[str, dict[str, int]]]:
    """Of those that end before the others start."""
    listed = spec.get("initContainers") or ()
    return [_read(one.get("resources")) for one in listed if one.get("restartPolicy") != "Always"]


def _read(resources: Any) -> dict[str, dict[str, int]]:
    """However the amounts are spelled."""
    return {
        part: {name: parse(str(text)).nano for name, text in ((resources or {}).get(part) or {}).items()}
        for part in ("limits", "requests")
    }
