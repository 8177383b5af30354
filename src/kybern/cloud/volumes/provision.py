"""Give claims their volumes. The rules are those of upstream's external-provisioner.

Reads PersistentVolumeClaim, StorageClass, Node, PersistentVolume, VolumeSnapshot. Writes PersistentVolumeClaim.metadata,
PersistentVolume; makes volumes.

    zone known ──mark the claim──> Make in that zone ──> write the PersistentVolume ──> take the mark away

The mark, a finalizer and the zone, is there before a volume is made, and goes only when the API knows the volume: a claim
that is deleted in between, or a daemon that is killed, leaves no volume that nobody knows. A deleted claim is finished
first; its volume is then Released, and goes as its class says. Where there is no room the zone is taken back, and the
choice of the scheduler with it, so that it makes another one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from kybern.api.core_v1 import Node, PersistentVolume, PersistentVolumeClaim
from kybern.api.storage_v1 import StorageClass
from kybern.cloud.provider import BlockVolume, Volumes
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.errands import Make, Memory, Refused, Room
from kybern.cloud.volumes.names import CHOSEN_ZONE, DRIVER, PROVISIONING_FINALIZER, ZONE_KEY
from kybern.cloud.volumes.snapshot_api import VolumeSnapshot, VolumeSnapshotContent
from kybern.cloud.volumes.source import NONE, Source, source_of
from kybern.loop.claims import class_of, requested
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Create,
    Emit,
    Failure,
    Key,
    Patch,
    Send,
    View,
    WhenChanged,
)
from kybern.loop.made_volumes import volume_name
from kybern.loop.volume_marks import BETA_PROVISIONER, LATER, PROVISIONER, SELECTED_NODE
from kybern.machinery.quantity import parse

_AGAIN = 15.0  # seconds until what was refused is tried again


@dataclass(frozen=True, slots=True)
class State:
    """``zone``: where, empty: not known yet. ``rooms``: by zone, for a claim that any zone may have.

    ``written``: what the API server has of the volume now, and not a cache of it.
    """

    claim: PersistentVolumeClaim
    found: StorageClass
    zone: str = ""
    rooms: Mapping[str, int] | Refused = field(default_factory=dict)
    source: Source = NONE
    made: BlockVolume | Refused | None = None
    written: PersistentVolume | None = None
    failure: Failure | None = None


def is_ours(claim: PersistentVolumeClaim, found: StorageClass | None) -> bool:
    """Whether this driver is to make the volume of a claim, or has begun to."""
    marks = claim.metadata.annotations
    if (marks.get(PROVISIONER) or marks.get(BETA_PROVISIONER)) != DRIVER:
        return False
    if found is None or found.provisioner != DRIVER:
        return False
    begun = PROVISIONING_FINALIZER in claim.metadata.finalizers
    return begun or (not claim.spec.volume_name and claim.metadata.deletion_timestamp is None)


def observe(volumes: Volumes, memory: Memory, view: View, key: Key) -> State | None:
    claim = view.get(PersistentVolumeClaim, *key)
    if claim is None:
        return None
    name, found = volume_name(claim), view.get(StorageClass, "", class_of(claim))
    if PROVISIONING_FINALIZER not in claim.metadata.finalizers:
        memory.made.pop(name, None)  # what was refused before is asked for anew
    if found is None or not is_ours(claim, found):
        return None
    begun, chosen = PROVISIONING_FINALIZER in claim.metadata.finalizers, _chosen(claim)
    if found.volume_binding_mode == LATER and not (begun or chosen):
        return None
    made, source = memory.made.get(name), source_of(view, claim)
    written = view.live(PersistentVolume, "", name)
    if written is not None:
        return State(claim, found, source=source, written=written)
    if not (begun or chosen):
        rooms = (
            {} if objects.impossible(claim, found) else view.told(Room(volumes, objects.parameters(found)))
        )
        return State(claim, found, rooms=rooms, source=source, failure=view.failure)
    zone = claim.metadata.annotations.get(CHOSEN_ZONE, "") if begun else _zone_of(view, chosen)
    return State(claim, found, zone, {}, source, made, None, view.failure)


def _zone_of(view: View, name: str) -> str:
    node = view.get(Node, "", name)
    return node.metadata.labels.get(ZONE_KEY, "") if node is not None else ""


def _chosen(claim: PersistentVolumeClaim) -> str:
    return claim.metadata.annotations.get(SELECTED_NODE, "")


def diff(volumes: Volumes, memory: Memory, state: State) -> Iterable[Action]:
    claim, found = state.claim, state.found
    begun = PROVISIONING_FINALIZER in claim.metadata.finalizers
    if state.failure is not None and isinstance(state.failure.action, Send):
        yield _failed(claim, "Unavailable", str(state.failure.error))
    if state.written is not None:
        if begun:
            yield Patch(claim, objects.unmarked(claim))
            yield Emit(
                claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {_name(claim)}"
            )
        return
    if wrong := objects.impossible(claim, found) or state.source.wrong:
        yield _failed(claim, "InvalidArgument", wrong)
        if begun:
            yield Patch(claim, objects.unmarked(claim))
    elif state.source.waits:
        yield _failed(claim, "Unavailable", state.source.waits)
        yield Again(_AGAIN)
    elif begun:
        yield from _make(volumes, memory, state)
    else:
        yield from _begin(volumes, state)


def _make(volumes: Volumes, memory: Memory, state: State) -> Iterable[Action]:
    claim, made = state.claim, state.made
    if isinstance(made, Refused):
        # Somebody else may have room: the scheduler chooses anew, or the next round.
        yield _failed(claim, made.code, made.why)
        yield Patch(claim, objects.unmarked(claim, chosen=False))
        yield Again(_AGAIN)
    elif made is None:
        text = f'External provisioner is provisioning volume for claim "{_shown(claim)}"'
        yield Emit(claim, "Normal", "Provisioning", text)
        size, given = parse(requested(claim)).value(), objects.parameters(state.found)
        yield Send(Make(volumes, _name(claim), size, state.zone, given, state.source.handle, memory))
        yield Again(0.0)
    else:
        yield Create(objects.volume_for(claim, state.found, made))
        yield Again(0.0)


def _begin(volumes: Volumes, state: State) -> Iterable[Action]:
    claim, rooms = state.claim, state.rooms
    if isinstance(rooms, Refused):
        yield _failed(claim, rooms.code, rooms.why)
        yield Again(_AGAIN)
        return
    zone = state.zone or _roomiest(state, rooms, _there(volumes, state))
    if zone:
        yield Patch(claim, objects.marked(claim, zone))
        return
    if chosen := _chosen(claim):
        yield _failed(claim, "Unavailable", f"node {chosen} has no label {ZONE_KEY}")
    else:
        size = parse(requested(claim)).value()
        yield _failed(claim, "ResourceExhausted", f"no zone has room for {size} bytes")
    yield Again(_AGAIN)


def _there(volumes: Volumes, state: State) -> str:
    """The zone of what a volume begins as; empty for any."""
    return volumes.zone(state.source.handle) if state.source.handle else ""


def _roomiest(state: State, rooms: Mapping[str, int], there: str) -> str:
    """Where a claim goes that no node was chosen for."""
    size, only = parse(requested(state.claim)).value(), objects.allowed_zones(state.found)
    zones = {zone for zone in rooms if (only is None or zone in only) and there in ("", zone)}
    fitting = [(rooms[zone], zone) for zone in zones if rooms[zone] >= size]
    return max(fitting)[1] if fitting else ""


def _failed(claim: PersistentVolumeClaim, code: str, why: str) -> Emit:
    """In upstream's words."""
    text = f'failed to provision volume with StorageClass "{class_of(claim)}": rpc error: code = {code} desc = {why}'
    return Emit(claim, "Warning", "ProvisioningFailed", text)


def _name(claim: PersistentVolumeClaim) -> str:
    return volume_name(claim)


def _shown(claim: PersistentVolumeClaim) -> str:
    return f"{claim.metadata.namespace}/{claim.metadata.name}"


def _claims_of(found: StorageClass, view: View) -> Iterable[Key]:
    if found.provisioner == DRIVER:
        for claim in view.list(PersistentVolumeClaim):
            if class_of(claim) == found.metadata.name:
                yield Key(claim.metadata.namespace, claim.metadata.name)


def _claims_on(node: Node, view: View) -> Iterable[Key]:
    for claim in view.list(PersistentVolumeClaim):
        if claim.metadata.annotations.get(SELECTED_NODE) == node.metadata.name and not claim.spec.volume_name:
            yield Key(claim.metadata.namespace, claim.metadata.name)


def _claims_from(snapshot: VolumeSnapshot, view: View) -> Iterable[Key]:
    for claim in view.list(PersistentVolumeClaim, snapshot.metadata.namespace):
        asked = claim.spec.data_source or claim.spec.data_source_ref
        if asked is not None and asked.name == snapshot.metadata.name and not claim.spec.volume_name:
            yield Key(claim.metadata.namespace, claim.metadata.name)


def _nobody(_item: object, _view: View) -> Iterable[Key]:
    """Contents are read, whose snapshots change with them, and volumes, of claims that are bound already."""
    return ()


def controller(volumes: Volumes, memory: Memory) -> Controller[State]:
    return Controller(
        "cloud-volume-provisioner",
        PersistentVolumeClaim,
        partial(observe, volumes, memory),
        partial(diff, volumes, memory),
        watches=(
            (StorageClass, _claims_of),
            (VolumeSnapshot, _claims_from),
            (VolumeSnapshotContent, _nobody),
            (PersistentVolume, _nobody),
            (Node, WhenChanged(lambda node: node.metadata.labels.get(ZONE_KEY), _claims_on)),
        ),
        source=DRIVER,
    )
