"""A choice of volumes, shown to the decisions to come before the API server knows of it. Pure.

``standing`` tells how far its writing is, from what the watches bring.
"""

from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.loop.volume_marks import SELECTED_NODE
from kybern.loop.volumes import is_bound, taken
from kybern.machinery.struct import replace
from kybern.scheduler.objects import Objects
from kybern.scheduler.table import Table
from kybern.scheduler.volumes.choice import Choice
from kybern.scheduler.volumes.supply import allows


@dataclass(frozen=True, slots=True)
class Write[T]:
    """An object as it was and as it is to be; ``claim`` is the one that waits for it.

    ``version`` is what the API server said of the writing: what the cache has of before says nothing. It is "" when somebody
    else is to write what is assumed; then the assumption itself is looked at.
    """

    old: T
    new: T
    claim: PersistentVolumeClaim
    version: str = ""


@dataclass(frozen=True, slots=True)
class Assumed:
    """Volumes that get a claim, and claims that get a node."""

    volumes: tuple[Write[PersistentVolume], ...] = ()
    claims: tuple[Write[PersistentVolumeClaim], ...] = ()


def assume(choice: Choice, node: str, objects: Objects) -> Assumed:
    volumes = tuple(
        Write(one.volume, taken(one.volume, one.claim), one.claim, _known(one.volume, objects))
        for one in choice.bindings
    )
    claims = tuple(Write(one, _promised(one, node), one, _known(one, objects)) for one in choice.provisions)
    for write in (*volumes, *claims):
        if write.new != write.old:
            objects.assume(write.new)
    return Assumed(volumes, claims)


def revert(assumed: Assumed, table: Table) -> None:
    """Take back what is not written yet; what others assumed before is theirs."""
    for volume in assumed.volumes:
        if volume.new != volume.old:
            table.restore_object(PersistentVolume, volume.new.metadata.name)
    for claim in assumed.claims:
        if claim.new != claim.old:
            meta = claim.new.metadata
            table.restore_object(PersistentVolumeClaim, meta.name, meta.namespace)


def _promised(claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
    marks = {**claim.metadata.annotations, SELECTED_NODE: node}
    return replace(claim, metadata=replace(claim.metadata, annotations=marks))


def _known(item: PersistentVolume | PersistentVolumeClaim, objects: Objects) -> str:
    meta = item.metadata
    return meta.resource_version if objects.said(type(item), meta.name, meta.namespace) is item else ""


def standing(assumed: Assumed, uid: str, node: str, table: Table) -> str | None:
    """Why not every claim will have its volume, "" when all have, None: not yet. Words are upstream's (checkBindings)."""
    if table.node(node) is None:
        return f'failed to get node "{node}": node "{node}" not found'
    if table.placed_on(uid) != node:
        return "pod does not exist any more"
    waits = False
    for said in (
        *(_of_volume(one, node, table) for one in assumed.volumes),
        *(_of_claim(one, node, table) for one in assumed.claims),
    ):
        if said:
            return said
        waits = waits or said is None
    return None if waits else ""


def _of_volume(write: Write[PersistentVolume], node: str, table: Table) -> str | None:
    name = write.new.metadata.name
    volume = table.objects.said(PersistentVolume, name)
    if volume is None:
        return f'failed to check binding: could not find v1.PersistentVolume "{name}"'
    claim = _claim(write.claim, table)
    if claim is None:
        return f'failed to check binding: could not find v1.PersistentVolumeClaim "{_key(write.claim)}"'
    if _behind(volume, write.version):
        return None
    if not _reachable(volume, node, table):
        return _unreachable(volume, node)
    shown = volume if write.version else table.objects.get(PersistentVolume, name)
    if shown is None or shown.spec.claim_ref is None or not shown.spec.claim_ref.uid:
        return f'ClaimRef got reset for pv "{name}"'
    return "" if is_bound(claim) else None


def _of_claim(write: Write[PersistentVolumeClaim], node: str, table: Table) -> str | None:
    claim = _claim(write.claim, table)
    if claim is None:
        return (
            f'failed to check provisioning pvc: could not find v1.PersistentVolumeClaim "{_key(write.claim)}"'
        )
    if _behind(claim, write.version):
        return None
    meta = claim.metadata
    shown = claim if write.version else table.objects.get(type(claim), meta.name, meta.namespace)
    if shown is None or shown.metadata.annotations.get(SELECTED_NODE) != node:
        return _given_up(claim)
    if claim.spec.volume_name:
        volume = table.objects.said(PersistentVolume, claim.spec.volume_name)
        if volume is None:
            return None  # one of the two watches lags
        if not _reachable(volume, node, table):
            return _unreachable(volume, node)
    return "" if is_bound(claim) else None


def _given_up(claim: PersistentVolumeClaim) -> str:
    """A driver that made no volume takes the mark away: another node may be better."""
    if not claim.metadata.annotations:
        return f'selectedNode annotation reset for PVC "{claim.metadata.name}"'
    return f'provisioning failed for PVC "{claim.metadata.name}"'


def _claim(claim: PersistentVolumeClaim, table: Table) -> PersistentVolumeClaim | None:
    return table.objects.said(PersistentVolumeClaim, claim.metadata.name, claim.metadata.namespace)


def _key(claim: PersistentVolumeClaim) -> str:
    return f"{claim.metadata.namespace}/{claim.metadata.name}"


def _reachable(volume: PersistentVolume, node: str, table: Table) -> bool:
    found = table.node(node)
    return found is not None and allows(volume, found)


def _unreachable(volume: PersistentVolume, node: str) -> str:
    name = volume.metadata.name
    return f'pv "{name}" node affinity doesn\'t match node "{node}": no matching NodeSelectorTerms'


def _behind(item: PersistentVolume | PersistentVolumeClaim, version: str) -> bool:
    """Whether the watch has not brought yet what was written. Versions are numbers that only grow."""
    known = item.metadata.resource_version
    return version.isdigit() and known.isdigit() and int(known) < int(version)
