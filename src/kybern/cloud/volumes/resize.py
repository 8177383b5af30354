"""Have volumes grow whose claims ask for more; the node's part is the kubelet's. The rules: upstream's external-resizer.

Reads PersistentVolumeClaim, PersistentVolume. Writes PersistentVolume.spec.capacity, PersistentVolumeClaim.status.

    claim asks for more ──> the cloud's volume grows ──> capacity of the volume ──> NodeResizePending on the claim

The kubelet then has the node's part grow the file system, and writes the claim's own capacity. What is refused for good
(no room) is marked so that less may be asked for again (KEP-1790), and is tried again each time the claim changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition
from kybern.cloud.provider import Volumes
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.errands import Expand, Memory, Refused
from kybern.cloud.volumes.names import DRIVER
from kybern.loop.claims import requested
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Emit,
    Failure,
    Key,
    Patch,
    PatchStatus,
    Send,
    View,
)
from kybern.loop.volumes import capacity
from kybern.machinery.quantity import parse
from kybern.machinery.struct import replace

RESIZING, FILE_SYSTEM = "Resizing", "FileSystemResizePending"
IN_PROGRESS, INFEASIBLE = "ControllerResizeInProgress", "ControllerResizeInfeasible"
NODE_PENDING = "NodeResizePending"
_OF_NODES = frozenset({NODE_PENDING, "NodeResizeInProgress", "NodeResizeInfeasible"})
_AGAIN = 60.0  # seconds: room may be there again


@dataclass(frozen=True, slots=True)
class State:
    """``grown``: what came of asking the cloud for as many bytes as the claim asks for."""

    claim: PersistentVolumeClaim
    volume: PersistentVolume
    now: datetime
    grown: int | Refused | None = None
    failure: Failure | None = None


def observe(memory: Memory, view: View, key: Key) -> State | None:
    claim = view.get(PersistentVolumeClaim, *key)
    if claim is None or claim.status.phase != "Bound" or claim.metadata.deletion_timestamp is not None:
        return None
    volume = view.get(PersistentVolume, "", claim.spec.volume_name)
    ref = volume.spec.claim_ref if volume is not None else None
    if volume is None or ref is None or ref.uid != claim.metadata.uid or not objects.is_ours(volume):
        return None
    asked = claim.metadata.uid, parse(requested(claim)).value()
    said = memory.grown.get(asked)
    if not wants(claim, volume):
        for old in [one for one in memory.grown if one[0] == claim.metadata.uid]:
            del memory.grown[old]
    elif isinstance(said, Refused):
        del memory.grown[asked]  # told below, and asked for anew in the next round
    return State(claim, volume, view.now, said, view.failure)


def wants(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    """Whether the cloud's part is still to be done, or the kubelet is still to be told of it."""
    wanted = parse(requested(claim))
    state = claim.status.allocated_resource_statuses.get("storage", "")
    if wanted <= parse(claim.status.capacity.get("storage", "0")):
        return state in (IN_PROGRESS, INFEASIBLE)  # less is asked for again
    return wanted > capacity(volume) or state not in _OF_NODES


def diff(volumes: Volumes, memory: Memory, state: State) -> Iterable[Action]:
    claim, volume = state.claim, state.volume
    if not wants(claim, volume):
        return
    wanted = parse(requested(claim))
    if wanted <= parse(claim.status.capacity.get("storage", "0")):
        yield PatchStatus(claim, _settled(claim))
        return
    if state.failure is not None and isinstance(state.failure.action, Send):
        yield _failed(claim, volume, "Unavailable", str(state.failure.error))
    if isinstance(state.grown, Refused):
        yield _failed(claim, volume, state.grown.code, state.grown.why)
        told = _marked(claim, INFEASIBLE, RESIZING, state.now)
        if told != claim:
            yield PatchStatus(claim, told)
        yield Again(_AGAIN)
    elif state.grown is None and wanted > capacity(volume):
        text = f"External resizer is resizing volume {volume.metadata.name}"
        yield Emit(claim, "Normal", "Resizing", text)
        yield Send(Expand(volumes, objects.handle_of(volume), wanted.value(), claim.metadata.uid, memory))
        yield Again(0.0)
    elif wanted > capacity(volume):
        spec = replace(volume.spec, capacity={**volume.spec.capacity, "storage": str(wanted)})
        yield Patch(volume, replace(volume, spec=spec))
        yield Again(0.0)
    else:
        yield PatchStatus(claim, _marked(claim, NODE_PENDING, FILE_SYSTEM, state.now))
        text = "Require file system resize of volume on node"
        yield Emit(claim, "Normal", "FileSystemResizeRequired", text)


def _failed(claim: PersistentVolumeClaim, volume: PersistentVolume, code: str, why: str) -> Emit:
    name = volume.metadata.name
    text = f'resize volume "{name}" by resizer "{DRIVER}" failed: rpc error: code = {code} desc = {why}'
    return Emit(claim, "Warning", "VolumeResizeFailed", text)


def _marked(claim: PersistentVolumeClaim, state: str, condition: str, now: datetime) -> PersistentVolumeClaim:
    """The claim on its way to what it asks for, with one condition of the two."""
    fresh = PersistentVolumeClaimCondition(type=condition, status="True", last_transition_time=now)
    if condition == FILE_SYSTEM:
        text = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
        fresh = replace(fresh, message=text)
    kept = next((one for one in claim.status.conditions if one.type == condition), fresh)
    others = tuple(one for one in claim.status.conditions if one.type not in (RESIZING, FILE_SYSTEM))
    status = replace(
        claim.status,
        allocated_resources={**claim.status.allocated_resources, "storage": requested(claim)},
        allocated_resource_statuses={**claim.status.allocated_resource_statuses, "storage": state},
        conditions=(*others, kept),
    )
    return replace(claim, status=status)


def _settled(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """The claim that has what it asks for, since it asks for less again."""
    left = {k: v for k, v in claim.status.allocated_resource_statuses.items() if k != "storage"}
    status = replace(
        claim.status,
        allocated_resources={**claim.status.allocated_resources, "storage": requested(claim)},
        allocated_resource_statuses=left,
        conditions=tuple(one for one in claim.status.conditions if one.type not in (RESIZING, FILE_SYSTEM)),
    )
    return replace(claim, status=status)


def _claims(volume: PersistentVolume, _view: View) -> Iterable[Key]:
    if objects.is_ours(volume) and volume.spec.claim_ref is not None:
        yield Key(volume.spec.claim_ref.namespace, volume.spec.claim_ref.name)


def controller(volumes: Volumes, memory: Memory) -> Controller[State]:
    return Controller(
        "cloud-volume-resizer",
        PersistentVolumeClaim,
        partial(observe, memory),
        partial(diff, volumes, memory),
        watches=((PersistentVolume, _claims),),
        source=DRIVER,
    )
