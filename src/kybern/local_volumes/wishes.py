"""What a claim or a volume wants of this node's driver; pure. The rules are those of upstream's external-provisioner.

claim of ours, no volume:   no node chosen, class says Immediate ──> Own (first come, first served)
                            this node chosen                     ──> Make
                            anything that a directory cannot be  ──> Refuse
claim with a volume here:   asks for more than it has            ──> Grow
volume of ours, here:       Released, policy Delete              ──> Remove
                            a finalizer too few or too many      ──> Guard
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.api.storage_v1 import StorageClass
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.loop.claims import requested
from kybern.loop.volume_marks import (
    BETA_PROVISIONER,
    LATER,
    PROVISIONED_BY,
    PROVISIONER,
    PROVISIONER_FINALIZER,
    SELECTED_NODE,
)
from kybern.loop.volumes import capacity
from kybern.machinery.quantity import Quantity, parse

MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
OPTIONS = frozenset({"ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime"})


@dataclass(frozen=True, slots=True)
class Own:
    """Nobody has chosen a node: be the one, if there is room."""

    size: int


@dataclass(frozen=True, slots=True)
class Make:
    """A directory of ``size`` bytes. ``later``: a scheduler has chosen this node, and can choose another one."""

    size: int
    later: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """What no node can do, in words for the claim's event."""

    why: str


@dataclass(frozen=True, slots=True)
class Grow:
    """The volume is to have ``size`` bytes, written as ``wanted``."""

    size: int
    wanted: Quantity


@dataclass(frozen=True, slots=True)
class Remove:
    """Directory and volume go."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The finalizers that the volume is to have."""

    finalizers: tuple[str, ...]


type ClaimWish = Own | Make | Refuse | None
type VolumeWish = Remove | Guard | None


def of_claim(claim: PersistentVolumeClaim, found: StorageClass | None, node: str) -> ClaimWish:
    """What a claim without a volume wants. ``found`` is its class, None when that is gone."""
    marks = claim.metadata.annotations
    maker = marks.get(PROVISIONER) or marks.get(BETA_PROVISIONER)
    if maker != DRIVER or claim.spec.volume_name or claim.metadata.deletion_timestamp is not None:
        return None
    if found is None or found.provisioner != DRIVER:
        return None
    chosen, later = marks.get(SELECTED_NODE, ""), found.volume_binding_mode == LATER
    if chosen != node and (chosen or later):
        return None
    wrong = impossible(claim, found)
    if wrong:
        # Of a claim that nobody has chosen a node for, every node would say the same: let it be said once it is owned.
        return Refuse(wrong) if chosen else Own(0)
    size = parse(requested(claim)).value()
    return Make(size, later) if chosen else Own(size)


def impossible(claim: PersistentVolumeClaim, found: StorageClass) -> str:
    """What about a claim a directory cannot be; empty when it can."""
    return next(_obstacles(claim, found), "")


def _obstacles(claim: PersistentVolumeClaim, found: StorageClass) -> Iterator[str]:
    for mode in claim.spec.access_modes:
        if mode not in MODES:
            can = " or ".join(sorted(MODES))
            yield f"access mode {mode} is not supported: a volume of one node can be {can}"
    if (claim.spec.volume_mode or "Filesystem") != "Filesystem":
        yield f"volumeMode {claim.spec.volume_mode} is not supported: volumes are directories"
    if claim.spec.data_source is not None or claim.spec.data_source_ref is not None:
        yield "a volume cannot be made from another one or from a snapshot: leave out dataSource"
    if claim.spec.selector is not None:
        yield "claim Selector is not supported"
    yield from (
        f'mount option "{option}" is not supported: a bind can have {", ".join(sorted(OPTIONS))}'
        for option in found.mount_options
        if option not in OPTIONS
    )
    for parameter in sorted(found.parameters):
        yield f'parameter "{parameter}" of class {found.metadata.name} is not known: there are none'


def is_here(volume: PersistentVolume, node: str) -> bool:
    """Whether a volume is this driver's, and of this node: by its affinity, which nobody can change."""
    return volume.spec.csi is not None and volume.spec.csi.driver == DRIVER and node_of(volume) == node


def node_of(volume: PersistentVolume) -> str:
    """The one node of a volume; empty when its affinity does not say one."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None
    terms = required.node_selector_terms if required is not None else ()
    if len(terms) != 1 or len(terms[0].match_expressions) != 1 or terms[0].match_fields:
        return ""
    (rule,) = terms[0].match_expressions
    named = rule.key == NODE_KEY and rule.operator == "In" and len(rule.values) == 1
    return rule.values[0] if named else ""


def of_volume(volume: PersistentVolume, node: str) -> VolumeWish:
    if not is_here(volume, node) or volume.metadata.annotations.get(PROVISIONED_BY) != DRIVER:
        return None
    held, going = volume.metadata.finalizers, volume.metadata.deletion_timestamp is not None
    policy, phase = volume.spec.persistent_volume_reclaim_policy, volume.status.phase
    if policy == "Delete":
        if phase == "Released" and (not going or PROVISIONER_FINALIZER in held):
            return Remove()
        if not going and PROVISIONER_FINALIZER not in held:
            return Guard((*held, PROVISIONER_FINALIZER))
    elif PROVISIONER_FINALIZER in held:
        return Guard(tuple(one for one in held if one != PROVISIONER_FINALIZER))
    return None


def of_bound(claim: PersistentVolumeClaim, volume: PersistentVolume, node: str) -> Grow | None:
    """Whether a claim's volume is to grow."""
    ref = volume.spec.claim_ref
    if (
        not is_here(volume, node)
        or ref is None
        or ref.uid != claim.metadata.uid
        or claim.status.phase != "Bound"
    ):
        return None
    if claim.metadata.deletion_timestamp is not None:
        return None
    wanted, has = parse(requested(claim)), parse(claim.status.capacity.get("storage", "0"))
    # A mark without a wish is left when who asked for too much asks for less again.
    if (
        wanted <= has
        and wanted <= capacity(volume)
        and "storage" not in claim.status.allocated_resource_statuses
    ):
        return None
    return Grow(wanted.value(), wanted)
