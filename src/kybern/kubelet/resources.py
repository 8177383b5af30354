"""From requests and limits to what the kernel is told: classes, shares, quotas, limits, and who is killed first. Pure.

The numbers are upstream's (pkg/kubelet/cm, pkg/kubelet/qos): 1024 shares are one CPU, a period is 100 ms, and the score
by which the kernel chooses a victim rises with the part of the machine's memory that a burstable pod did not ask for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.parts import is_sidecar
from kybern.machinery.quantity import Quantity, parse

PERIOD = 100_000
_LEAST_SHARES, _MOST_SHARES = 2, 262_144
_LEAST_QUOTA = 1000
_CRITICAL_PRIORITY = 2_000_000_000
_ZERO = parse("0")


def limits(container: Container) -> Mapping[str, str]:
    return container.resources.limits if container.resources else {}


def requests(container: Container) -> Mapping[str, str]:
    """What is asked for; a limit alone asks for as much."""
    asked = container.resources.requests if container.resources else {}
    return {**limits(container), **asked}


def amount(of: Mapping[str, str], name: str) -> Quantity:
    return parse(of[name]) if name in of else _ZERO


def qos(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort; what the API server stored wins."""
    if pod.status.qos_class:
        return pod.status.qos_class
    asked = burdened = False
    guaranteed = True
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        wanted, most = requests(container), limits(container)
        for name in ("cpu", "memory"):
            burdened = burdened or bool(amount(most, name))
            asked = asked or bool(amount(wanted, name))
            guaranteed = (
                guaranteed and bool(amount(most, name)) and amount(wanted, name) == amount(most, name)
            )
    if not asked and not burdened:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def shares(milli: int) -> int:
    if milli == 0:
        return _LEAST_SHARES
    return min(max(milli * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)


def quota(milli: int, period: int = PERIOD) -> int:
    """Microseconds of CPU a period; 0 is no limit."""
    return max(milli * period // 1000, _LEAST_QUOTA) if milli else 0


def oom_score(pod: Pod, container: Container, memory: int) -> int:
    """Who goes first when the machine has no memory left: -997 is last, 1000 first. ``memory`` is the machine's."""
    if pod.spec.priority is not None and pod.spec.priority >= _CRITICAL_PRIORITY:
        return -997
    kind = qos(pod)
    if kind != "Burstable":
        return -997 if kind == "Guaranteed" else 1000
    asked = amount(requests(container), "memory").value()
    score = 1000 - 1000 * asked // memory if memory else 1000
    if is_sidecar(container):
        lowest = [
            1000 - 1000 * amount(requests(c), "memory").value() // memory
            for c in pod.spec.containers
            if memory
        ]
        score = min([score, *lowest])
    return min(max(score, 3), 999)


@dataclass(frozen=True, slots=True)
class Total:
    """What a whole pod may take: requests as shares, limits only when every container has one."""

    milli_cpu: int
    cpu_limit: int | None
    memory_limit: int | None


def _largest(values: Iterable[int]) -> int:
    return max(values, default=0)


def request_of(pod: Pod, name: str) -> int:
    """What a pod asks for of a resource, in thousandths: all containers and sidecars, or the largest init container."""
    return _summed(pod, name, requests) + amount(pod.spec.overhead, name).milli()


def _summed(pod: Pod, name: str, of: object) -> int:
    pick = requests if of is requests else limits
    sidecars = sum(amount(pick(c), name).milli() for c in pod.spec.init_containers if is_sidecar(c))
    running = sum(amount(pick(c), name).milli() for c in pod.spec.containers) + sidecars
    before, peak = 0, 0
    for container in pod.spec.init_containers:
        wanted = amount(pick(container), name).milli()
        peak = max(peak, before + wanted)
        before += wanted if is_sidecar(container) else 0
    return max(running, peak)


def total(pod: Pod) -> Total:
    every = (*pod.spec.init_containers, *pod.spec.containers)
    cpu = all(amount(limits(c), "cpu") for c in every)
    memory = all(amount(limits(c), "memory") for c in every)
    return Total(
        milli_cpu=request_of(pod, "cpu"),
        cpu_limit=_summed(pod, "cpu", limits) if cpu else None,
        memory_limit=_summed(pod, "memory", limits) // 1000 if memory else None,
    )


def cgroup_of(pod: Pod, root: str = "/kubepods") -> str:
    """The pod's own cgroup, by the cgroupfs driver's names."""
    kind = qos(pod)
    middle = "" if kind == "Guaranteed" else f"/{kind.lower()}"
    return f"{root}{middle}/pod{pod.metadata.uid}"
