"""From requests and limits to what the kernel is told: classes, shares, quotas, limits, and who is killed first. Pure.

The numbers are upstream's (pkg/kubelet/cm, pkg/kubelet/qos): 1024 shares are one CPU, a period is 100 ms, and the score
by which the kernel chooses a victim rises with the part of the machine's memory that a burstable pod did not ask for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod, ResourceRequirements
from kybern.kubelet import cgroup_names
from kybern.kubelet.parts import is_sidecar
from kybern.machinery.quantity import Format, Quantity, parse

PERIOD = 100_000
_LEAST_SHARES, _MOST_SHARES = 2, 262_144
_LEAST_QUOTA = 1000
_ZERO = parse("0")


def limits(container: Container) -> Mapping[str, str]:
    return container.resources.limits if container.resources else {}


def requests(container: Container) -> Mapping[str, str]:
    """What is asked for; a limit alone asks for as much."""
    asked = container.resources.requests if container.resources else {}
    return {**limits(container), **asked}


def amount(of: Mapping[str, str], name: str) -> Quantity:
    return parse(of[name]) if name in of else _ZERO


def _whole(pod: Pod) -> ResourceRequirements | None:
    """The pod's own resources (spec.resources), which win over the sum of its containers'."""
    found = pod.spec.resources
    return found if found is not None and (found.limits or found.requests) else None


def has_own(pod: Pod) -> bool:
    """Whether the pod itself says what it takes, beside its containers."""
    return _whole(pod) is not None


def qos(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort; what the API server stored wins."""
    if pod.status.qos_class:
        return pod.status.qos_class
    asked = burdened = False
    guaranteed = True
    own = _whole(pod)
    holders = (
        [container.resources for container in (*pod.spec.init_containers, *pod.spec.containers)]
        if own is None
        else [own]
    )
    for holder in holders:
        most = holder.limits if holder else {}
        wanted = {**most, **(holder.requests if holder else {})}
        for name in ("cpu", "memory"):
            burdened = burdened or bool(amount(most, name))
            asked = asked or bool(amount(wanted, name))
            guaranteed = (
                guaranteed and bool(amount(most, name)) and amount(wanted, name) == amount(most, name)
            )
    if not asked and not burdened:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def page_size(name: str) -> str:
    """The kernel's name for the pages of a resource: 2MB for hugepages-2Mi, as in the files of the hugetlb controller."""
    size = parse(name.removeprefix("hugepages-")).value()
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20)):
        if size >= factor:
            return f"{size // factor}{unit}"
    return f"{size >> 10}KB"


def shares(milli: int) -> int:
    if milli == 0:
        return _LEAST_SHARES
    return min(max(milli * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)


def quota(milli: int, period: int = PERIOD) -> int:
    """Microseconds of CPU a period; 0 is no limit."""
    return max(milli * period // 1000, _LEAST_QUOTA) if milli else 0


def oom_score(pod: Pod, container: Container, memory: int) -> int:
    """Who goes first when the machine has no memory left: -997 is last, 1000 first. ``memory`` is the machine's."""
    if pod.spec.priority_class_name == "system-node-critical":
        # Of the pods that the system needs only these: others can run on another node.
        return -997
    kind = qos(pod)
    if kind != "Burstable":
        return -997 if kind == "Guaranteed" else 1000
    share = _share_of_rest(pod)

    def score(of: Container) -> int:
        asked = amount(requests(of), "memory").value() + share
        return 1000 - 1000 * asked // memory if memory else 1000

    found = score(container)
    if is_sidecar(container):
        found = min([found, *(score(each) for each in pod.spec.containers)])
    return min(max(found, 3), 999)


def _share_of_rest(pod: Pod) -> int:
    """Bytes for each container of what the pod asks for as a whole beyond what they ask for (KEP-2837)."""
    own = _whole(pod)
    if own is None:
        return 0
    every = [*(c for c in pod.spec.init_containers if is_sidecar(c)), *pod.spec.containers]
    whole = amount({**own.limits, **own.requests}, "memory").value()
    rest = whole - sum(amount(requests(each), "memory").value() for each in every)
    return max(0, rest) // len(every) if every else 0


@dataclass(frozen=True, slots=True)
class Total:
    """What a whole pod may take: requests as shares, limits only when every container has one, or the pod itself."""

    milli_cpu: int
    cpu_limit: int | None
    memory_limit: int | None


def asked_names(pod: Pod) -> tuple[str, ...]:
    """The resources that a pod asks for, CPU and memory first."""
    names = {name for c in (*pod.spec.init_containers, *pod.spec.containers) for name in requests(c)}
    own = _whole(pod)
    if own is not None:
        names |= {*own.limits, *own.requests}
    names |= set(pod.spec.overhead)
    first = ("cpu", "memory", "ephemeral-storage")
    return (*(name for name in first if name in names), *sorted(names.difference(first)))


def limited_names(pod: Pod) -> tuple[str, ...]:
    """The resources of which some container has a limit, sorted."""
    return tuple(
        sorted({name for c in (*pod.spec.init_containers, *pod.spec.containers) for name in limits(c)})
    )


def request_of(pod: Pod, name: str) -> int:
    """What a pod asks for of a resource, in thousandths, with its overhead.

    What it says itself, or all containers and sidecars, or the largest init container.
    """
    own = _whole(pod)
    asked = {**own.limits, **own.requests} if own is not None else {}
    found = amount(asked, name).milli() if name in asked else _summed(pod, name, requests)
    return found + amount(pod.spec.overhead, name).milli()


def shown(milli: int, name: str) -> str:
    """Thousandths of a resource as they are written: memory by powers of 1024, all else by thousands."""
    binary = name in ("memory", "ephemeral-storage") or name.startswith("hugepages-")
    return str(Quantity(milli * 10**6, Format.BINARY if binary else Format.DECIMAL))


def limit_of(pod: Pod, name: str, *, overhead: bool = True) -> int | None:
    """What a pod may have of a resource, in thousandths; None where something in it has no limit."""
    own = _whole(pod)
    if own is not None and name in own.limits:
        found = amount(own.limits, name).milli()
    elif all(amount(limits(c), name) for c in (*pod.spec.init_containers, *pod.spec.containers)):
        found = _summed(pod, name, limits)
    else:
        return None
    return found + (amount(pod.spec.overhead, name).milli() if overhead else 0)


def limits_of(pod: Pod, name: str) -> int:
    """What those containers together may have that have a limit, in thousandths; 0 where none has."""
    return _summed(pod, name, limits)


def _summed(pod: Pod, name: str, pick: Callable[[Container], Mapping[str, str]]) -> int:
    sidecars = sum(amount(pick(c), name).milli() for c in pod.spec.init_containers if is_sidecar(c))
    running = sum(amount(pick(c), name).milli() for c in pod.spec.containers) + sidecars
    before, peak = 0, 0
    for container in pod.spec.init_containers:
        wanted = amount(pick(container), name).milli()
        peak = max(peak, before + wanted)
        before += wanted if is_sidecar(container) else 0
    return max(running, peak)


def total(pod: Pod, *, overhead: bool = True) -> Total:
    """``overhead`` False: without what the pod costs beside its containers."""
    memory = limit_of(pod, "memory", overhead=overhead)
    extra = 0 if overhead else amount(pod.spec.overhead, "cpu").milli()
    return Total(
        milli_cpu=request_of(pod, "cpu") - extra,
        cpu_limit=limit_of(pod, "cpu", overhead=overhead),
        memory_limit=memory // 1000 if memory is not None else None,
    )


def own_limit(pod: Pod, container: Container, name: str) -> Quantity:
    """A container's limit; one without gets the pod's own, so that the kernel holds it back at all."""
    own = _whole(pod)
    most = limits(container)
    return amount(most, name) if name in most or own is None else amount(own.limits, name)


def cgroup_of(pod: Pod, root: str = "/kubepods") -> str:
    """The pod's own cgroup, named as the root is."""
    kind = qos(pod)
    above = root if kind == "Guaranteed" else cgroup_names.below(root, kind.lower())
    return cgroup_names.below(above, f"pod{pod.metadata.uid}")
