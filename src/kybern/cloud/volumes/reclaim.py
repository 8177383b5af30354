"""Take volumes back that nobody claims any more, and keep the finalizer that waits for this.

Reads PersistentVolume. Writes PersistentVolume.metadata.finalizers, deletes it; removes volumes.

Released, policy Delete: first the cloud's volume, then the finalizer, then the object. A volume that a machine still has
is not removed: its event says so, and it is tried again. The rules are those of upstream's external-provisioner.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from kybern.api.core_v1 import PersistentVolume
from kybern.cloud.provider import Volumes
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.errands import Remove
from kybern.cloud.volumes.names import DRIVER
from kybern.loop.controller import Action, Controller, Delete, Emit, Failure, Key, Patch, Send, View
from kybern.loop.volume_marks import PROVISIONED_BY, PROVISIONER_FINALIZER


@dataclass(frozen=True, slots=True)
class State:
    volume: PersistentVolume
    failure: Failure | None = None


def observe(view: View, key: Key) -> State | None:
    volume = view.get(PersistentVolume, "", key.name)
    if volume is None or not objects.is_ours(volume):
        return None
    if volume.metadata.annotations.get(PROVISIONED_BY) != DRIVER:
        return None
    return State(volume, view.failure)


def diff(volumes: Volumes, state: State) -> Iterable[Action]:
    volume, held = state.volume, state.volume.metadata.finalizers
    going, guarded = volume.metadata.deletion_timestamp is not None, PROVISIONER_FINALIZER in held
    without = tuple(one for one in held if one != PROVISIONER_FINALIZER)
    if volume.spec.persistent_volume_reclaim_policy != "Delete":
        if guarded:
            yield Patch(volume, objects.held(volume, without))
    elif volume.status.phase == "Released" and (guarded or not going):
        if state.failure is not None and isinstance(state.failure.action, Send):
            text = f"rpc error: code = Internal desc = {state.failure.error}"
            yield Emit(volume, "Warning", "VolumeFailedDelete", text)
        yield Send(Remove(volumes, objects.handle_of(volume)))
        if guarded:
            yield Patch(volume, objects.held(volume, without))
        if not going:
            yield Delete(volume)
    elif not going and not guarded and volume.status.phase != "Released":
        yield Patch(volume, objects.held(volume, (*held, PROVISIONER_FINALIZER)))


def controller(volumes: Volumes) -> Controller[State]:
    return Controller(
        "cloud-volume-reclaimer", PersistentVolume, observe, partial(diff, volumes), source=DRIVER
    )
