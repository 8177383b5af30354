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
    """Each for its own zone, but for those that go from the zones with most too many to those with most too few."""
    has = Counter(zones)
    give = {zone: has[zone] - share.exact for zone, share in shares.items() if has[zone] > share.exact}
    # A zone without nodes that count has no share: all of its endpoints serve others.
    give |= {zone: float(number) for zone, number in has.items() if zone not in shares}
    take = {zone: share.exact - has[zone] for zone, share in shares.items() if has[zone] < share.exact}
    gives: dict[str, list[str]] = {}
    while give and take:
        giver, taker = _most(give), _most(take)
        much, need = give[giver], take[taker]
        if (much < 1 and need < 1) or much < 0.5 or need < 0.5:
            break
        gives.setdefault(giver, []).append(taker)
        give[giver] -= 1
        take[taker] -= 1
    meant = []
    for zone in zones:
        others = gives.get(zone)
        meant.append(others.pop(0) if others else zone)
    return tuple(meant)


def _most(amounts: Mapping[str, float]) -> str:
    return min(amounts, key=lambda zone: (-amounts[zone], zone))
