"""How much a container may swap (memorySwap.swapBehavior, KEP-2400). Pure; the rules are upstream's.

Only containers of burstable pods swap, and only with LimitedSwap on cgroups of version 2: as large a part of the node's swap
as what they ask for is of its memory. What belongs to the system, asks for no memory or for exactly its limit does not.
"""

from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.admit import critical
from kybern.kubelet.resources import amount, limits, qos, requests

NONE, LIMITED = "NoSwap", "LimitedSwap"


@dataclass(frozen=True, slots=True)
class Swap:
    """The node's, in bytes. ``controlled``: whether the kernel lets cgroups be limited at all."""

    behavior: str = NONE
    total: int = 0
    memory: int = 0
    controlled: bool = False


def check(behavior: str) -> None:
    """Raises ValueError for what there is not."""
    if behavior not in ("", NONE, LIMITED):
        raise ValueError(
            f'invalid configuration: memorySwap.swapBehavior "{behavior}" must be one of: "", "{LIMITED}" or "{NONE}"'
        )


def swaps(pod: Pod, container: Container, swap: Swap, *, v2: bool) -> bool:
    """Whether a container may swap at all."""
    asked, most = amount(requests(container), "memory"), amount(limits(container), "memory")
    return (
        swap.behavior == LIMITED
        and swap.controlled
        and v2
        and qos(pod) == "Burstable"
        and bool(asked or most)
        and asked != most
        and not critical(pod)
    )


def limit(pod: Pod, container: Container, swap: Swap, *, v2: bool) -> int:
    """Bytes of swap."""
    if not swaps(pod, container, swap, v2=v2):
        return 0
    return share(amount(requests(container), "memory").value(), swap)


def share(asked: int, swap: Swap) -> int:
    """The part of the swap for so much memory; nothing where that is more than the node has."""
    if swap.memory <= 0 or asked > swap.memory:
        return 0
    return asked * swap.total // swap.memory


def keeps(wanted: Pod, granted: Pod, swap: Swap, *, v2: bool) -> str:
    """Why a pod cannot have other amounts of memory while it runs; empty when it can."""
    before = {one.name: one for one in (*granted.spec.init_containers, *granted.spec.containers)}
    for one in (*wanted.spec.init_containers, *wanted.spec.containers):
        if one.name not in before or not swaps(granted, before[one.name], swap, v2=v2):
            continue
        restarted = any(
            each.resource_name == "memory" and each.restart_policy == "RestartContainer"
            for each in one.resize_policy
        )
        if not restarted and _memory(one) != _memory(before[one.name]):
            return "In-place resize of containers with swap is not supported."
    return ""


def _memory(container: Container) -> tuple[int, int]:
    return amount(requests(container), "memory").nano, amount(limits(container), "memory").nano
