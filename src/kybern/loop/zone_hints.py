"""For which zone each endpoint of a service is meant, so that zones get endpoints in proportion to their CPU; pure.

``service.kubernetes.io/topology-mode: Auto`` (KEP-2433). An endpoint is meant for its own zone unless another one needs it
more. There are no hints at all, and a reason, when some zone would have to bear over a fifth more than its share: the rules,
the threshold and the texts are those of upstream's endpointslice/topologycache. What is assigned stays as it is as long as
no zone is overloaded by it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kybern.api.core_v1 import Node
from kybern.machinery.quantity import parse

MODE = "service.kubernetes.io/topology-mode"
OLD_MODE = "service.kubernetes.io/topology-aware-hints"  # deprecated, and looked at where MODE is not set
ZONE = "topology.kubernetes.io/zone"
MASTERS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
OVERLOAD = 0.2

ENABLED = "Topology Aware Hints has been enabled"
NO_ZONE = "One or more endpoints do not have a zone specified"
NO_INFORMATION = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
TOO_FEW = "Insufficient number of endpoints"
TOO_UNEVEN = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"


@dataclass(frozen=True, slots=True)
class Refused:
    """No hints, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Share:
    """How many endpoints a zone must and may have, and the number that would be its part exactly."""

    least: int
    most: int
    exact: float


def is_asked(annotations: Mapping[str, str]) -> bool:
    return annotations.get(MODE, annotations.get(OLD_MODE, "")) in {"Auto", "auto"}


def capacity(node: Node) -> tuple[str, int] | None:
    """The zone and the milli-CPUs that a node counts with; None for one that counts with nothing."""
    ready = any((one.type, one.status) == ("Ready", "True") for one in node.status.conditions)
    if not ready or any(label in node.metadata.labels for label in MASTERS):
        return None
    return node.metadata.labels.get(ZONE, ""), parse(node.status.allocatable.get("cpu", "0")).milli()


def cpu_by_zone(nodes: Iterable[Node]) -> dict[str, float]:
    """Each zone's part of all CPUs, by its ready workers; nothing when one of these does not say what it has."""
    found: Counter[str] = Counter()
    for one in (capacity(node) for node in nodes):
        if one is None:
            continue
        zone, cpus = one
        if not zone or not cpus:
            return {}
        found[zone] += cpus
    total = found.total()
    return {zone: cpus / total for zone, cpus in found.items()} if len(found) > 1 else {}


def assign(
    zones: Sequence[str], current: Sequence[str], parts: Mapping[str, float]
) -> tuple[str, ...] | Refused:
    """The zone that each ready endpoint is meant for.

    ``zones`` are where they are, ``current`` what they are meant for now (empty where nothing is said), ``parts`` each
    zone's part of the CPUs.
    """
    shares = _shares(len(zones), parts)
    if isinstance(shares, Refused):
        return shares
    if not all(zones):
        return Refused(NO_ZONE)
    if _holds(current, shares):
        return tuple(current)
    return _moved(zones, shares)


def _shares(count: int, parts: Mapping[str, float]) -> dict[str, Share] | Refused:
    if not parts:
        return Refused(NO_INFORMATION)
    told = f"({count} endpoints, {len(parts)} zones)"
    if len(parts) > count:
        return Refused(f"{TOO_FEW} {told}")
    exact = {zone: part * count for zone, part in parts.items()}
    # As upstream reckons it, rounding included.
    least = {zone: math.ceil(number * (1 / (1 + OVERLOAD))) for zone, number in exact.items()}
    spare = count - sum(least.values())
    if spare < 0:
        return Refused(f"{TOO_UNEVEN} {told}")
    return {zone: Share(least[zone], least[zone] + spare, max(exact[zone], least[zone])) for zone in parts}


def _holds(current: Sequence[str], shares: Mapping[str, Share]) -> bool:
    if not all(zone in shares for zone in current):
        return False
    has = Counter(current)
    return all(share.least <= has[zone] <= share.most for zone, share in shares.items())


def _moved(zones: Sequence[str], shares: Mapping[str, Share]) -> tuple[str, ...]:
    """Each for its own zone, but for those of which a zone has too many: they go where most are missing.

    A zone without nodes that count needs none.
    """
    parts = _numbers(len(zones), shares)
    has = Counter(zones)
    surplus = {zone: number - parts.get(zone, 0) for zone, number in has.items()}
    missing = {zone: number - has[zone] for zone, number in parts.items()}
    meant = []
    for zone in zones:
        if surplus[zone] > 0:
            surplus[zone] -= 1
            taker = _most(missing)
            missing[taker] -= 1
            meant.append(taker)
        else:
            meant.append(zone)
    return tuple(meant)


def _numbers(count: int, shares: Mapping[str, Share]) -> dict[str, int]:
    """How many each zone is to have, in all so many: what it must have, and of the rest to whom most is missing."""
    numbers = {zone: share.least for zone, share in shares.items()}
    for _ in range(count - sum(numbers.values())):
        numbers[_most({zone: share.exact - numbers[zone] for zone, share in shares.items()})] += 1
    return numbers


def _most(amounts: Mapping[str, float]) -> str:
    return min(amounts, key=lambda zone: (-amounts[zone], zone))
