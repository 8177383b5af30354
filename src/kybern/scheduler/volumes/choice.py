"""What the claims of a pod get on one node: volumes that are there, or such that are made for it. Pure.

Claims choose in the order of their size, each the smallest volume that is large enough and not another claim's; what finds
none is to be made. A claim that was promised to a node before (its mark) is made there or nowhere.
"""

from dataclasses import dataclass

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim
from kybern.loop.volume_marks import SELECTED_NODE
from kybern.scheduler.objects import Objects
from kybern.scheduler.volumes.claims import Wanted
from kybern.scheduler.volumes.supply import CONFLICT, NO_MATCH, NO_VOLUME, allows, candidates, size, unmade


@dataclass(frozen=True, slots=True)
class Binding:
    claim: PersistentVolumeClaim
    volume: PersistentVolume


@dataclass(frozen=True, slots=True)
class Choice:
    """``bindings`` to volumes that are there, ``provisions`` that are to be made; or why the node will not do."""

    bindings: tuple[Binding, ...] = ()
    provisions: tuple[PersistentVolumeClaim, ...] = ()
    reasons: tuple[str, ...] = ()


def choose(found: Wanted, node: Node, objects: Objects) -> Choice:
    reasons = [why for why in (_at_hand(found, node, objects),) if why]
    marked = [one for one in found.later if SELECTED_NODE in one.metadata.annotations]
    if any(one.metadata.annotations[SELECTED_NODE] != node.metadata.name for one in marked):
        return Choice(reasons=(*reasons, NO_MATCH))
    bindings = _matched(in_order(found), node, objects)
    have = {one.claim.metadata.name for one in bindings}
    provisions = (*marked, *(one for one in in_order(found) if one.metadata.name not in have))
    lacking = next((why for one in provisions if (why := unmade(one, node, objects))), "")
    if lacking:
        reasons.append(lacking)
    return Choice(reasons=tuple(reasons)) if reasons else Choice(bindings, provisions)


def in_order(found: Wanted) -> list[PersistentVolumeClaim]:
    """The claims that look for a volume, the smallest first."""
    free = (one for one in found.later if SELECTED_NODE not in one.metadata.annotations)
    return sorted(free, key=size)


def _at_hand(found: Wanted, node: Node, objects: Objects) -> str:
    """Why volumes that are bound already cannot be used on a node."""
    for claim in found.bound:
        volume = objects.get(PersistentVolume, claim.spec.volume_name)
        if volume is None:
            return NO_VOLUME
        if not allows(volume, node):
            return CONFLICT
    return ""


def _matched(claims: list[PersistentVolumeClaim], node: Node, objects: Objects) -> tuple[Binding, ...]:
    found: dict[str, Binding] = {}
    for claim in claims:
        for volume in candidates(claim, objects):
            if volume.metadata.name not in found and allows(volume, node):
                found[volume.metadata.name] = Binding(claim, volume)
                break
    return tuple(found.values())
