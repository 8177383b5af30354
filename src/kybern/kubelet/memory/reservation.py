"""What reservedMemory keeps of each NUMA node. Pure; the messages are upstream's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kybern.kubelet.memory.ledger import is_memory
from kybern.machinery.quantity import Quantity, parse

POLICIES = ("None", "Static")


@dataclass(frozen=True, slots=True)
class Reservation:
    """Of one node: amounts by sort (memory, hugepages-2Mi)."""

    node: int
    limits: Mapping[str, str]


def check(policy: str) -> None:
    """Raises ValueError for what there is not."""
    if policy not in POLICIES:
        raise ValueError(f'memory manager policy "{policy}" is none of {", ".join(POLICIES)}')


def from_file(value: Any) -> tuple[Reservation, ...]:
    """A list of ``{numaNode, limits}``. Raises ValueError."""
    found = []
    for raw in value or ():
        node, limits = raw.get("numaNode", 0), raw.get("limits") or {}
        if type(node) is not int or raw.keys() - {"numaNode", "limits"}:
            raise ValueError("want numaNode and limits")
        found.append(Reservation(node, {str(name): str(text) for name, text in limits.items()}))
    return checked(found)


def from_flag(text: str) -> tuple[Reservation, ...]:
    """``0:memory=1Gi,hugepages-1Gi=2Gi;1:memory=2Gi``. Raises ValueError."""
    found = []
    for part in filter(None, text.split(";")):
        node, colon, rest = part.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",")]
        if not colon or not node.strip().isdigit() or not all(sign for _name, sign, _text in pairs):
            raise ValueError(f"the reserved memory has incorrect format: {part}")
        limits = {name.strip(): amount.strip() for name, _sign, amount in pairs}
        found.append(Reservation(int(node), limits))
    return checked(found)


def checked(found: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """Raises ValueError."""
    every = tuple(found)
    seen = set()
    for one in every:
        for name, text in one.limits.items():
            shown = f'for NUMA node {one.node} and resource "{name}"'
            if not is_memory(name):
                raise ValueError(
                    f'invalid configuration: the limit type "{name}" for NUMA node {one.node} is not supported, '
                    "only [memory hugepages-<HugePageSize>] is accepted"
                )
            if not parse(text):
                raise ValueError(f"invalid configuration: reserved memory may not be zero {shown}")
            if (one.node, name) in seen:
                raise ValueError(f"invalid configuration: the reserved memory has a duplicate value {shown}")
            seen.add((one.node, name))
    return every


def by_node(
    found: Iterable[Reservation], nodes: Iterable[int], altogether: Mapping[str, Quantity]
) -> Mapping[int, Mapping[str, int]]:
    """Bytes by node and sort. ``altogether``: what the node keeps back. Raises ValueError where they differ."""
    kept: dict[int, dict[str, int]] = {node: {} for node in nodes}
    for one in found:
        if one.node not in kept:
            raise ValueError(
                f"the reserved memory configuration references a NUMA node {one.node} that does not exist on this machine"
            )
        kept[one.node] |= {name: parse(text).value() for name, text in one.limits.items()}
    names = {name for sorts in kept.values() for name in sorts} | set(filter(is_memory, altogether))
    for name in sorted(names):
        total = sum(sorts.get(name, 0) for sorts in kept.values())
        wanted = altogether.get(name, Quantity(0))
        if total != wanted.value():
            raise ValueError(
                f'the total amount "{total}" of type "{name}" is not equal to the value "{wanted.value()}" '
                "determined by Node Allocatable feature"
            )
    if not sum(sorts.get("memory", 0) for sorts in kept.values()):
        raise ValueError("[memorymanager] you should specify the system reserved memory")
    return kept
