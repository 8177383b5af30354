"""Take snapshots, and take them back, as contents ask: upstream's csi-snapshotter, with the cloud in the driver's place.

Reads VolumeSnapshotContent. Writes VolumeSnapshotContent.status, its finalizer; makes and removes snapshots.

A snapshot that the API does not know of is made anew: how far an earlier attempt came, nobody knows. Its name is the
content's, so that whoever takes it over finds it, and what a content that is deleted had half made goes with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from kybern.cloud.provider import Snapshot, Volumes
from kybern.cloud.volumes.errands import Forget, Memory, Refused, Take
from kybern.cloud.volumes.names import CONTENT_FINALIZER, DRIVER
from kybern.cloud.volumes.snapshot_api import (
    SnapshotError,
    VolumeSnapshotContent,
    VolumeSnapshotContentStatus,
)
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
from kybern.machinery.struct import replace

_AGAIN = 15.0


@dataclass(frozen=True, slots=True)
class State:
    content: VolumeSnapshotContent
    now: datetime
    taken: Snapshot | Refused | None = None
    failure: Failure | None = None


def observe(memory: Memory, view: View, key: Key) -> State | None:
    content = view.get(VolumeSnapshotContent, "", key.name)
    if content is None or content.spec.driver != DRIVER:
        memory.taken.pop(key.name, None)
        return None
    taken = memory.taken.get(key.name)
    if isinstance(taken, Refused) or content.status.snapshot_handle:
        memory.taken.pop(key.name, None)  # told below; what is refused is asked for anew in the next round
    return State(content, view.now, taken, view.failure)


def diff(volumes: Volumes, memory: Memory, state: State) -> Iterable[Action]:
    content, source = state.content, state.content.spec.source
    why = str(state.failure.error) if state.failure and isinstance(state.failure.action, Send) else ""
    if content.metadata.deletion_timestamp is not None:
        yield from _deleted(volumes, state, why)
    elif CONTENT_FINALIZER not in content.metadata.finalizers:
        yield Patch(content, _held(content, (*content.metadata.finalizers, CONTENT_FINALIZER)))
    elif content.status.ready_to_use:
        return
    elif source.snapshot_handle:
        status = VolumeSnapshotContentStatus(snapshot_handle=source.snapshot_handle, ready_to_use=True)
        yield PatchStatus(content, replace(content, status=status))
    elif isinstance(state.taken, Snapshot):
        status = VolumeSnapshotContentStatus(
            creation_time=state.taken.created,
            restore_size=state.taken.size,
            snapshot_handle=state.taken.handle,
            ready_to_use=True,
        )
        yield PatchStatus(content, replace(content, status=status))
    elif isinstance(state.taken, Refused):
        yield from _failed(state, state.taken.why)
        yield Again(_AGAIN)
    else:
        if why:
            yield from _failed(state, why)
        yield Send(Take(volumes, source.volume_handle, _name(content), content.metadata.name, memory))
        yield Again(0.0)


def _deleted(volumes: Volumes, state: State, why: str) -> Iterable[Action]:
    """The finalizer waits for the snapshot, where that is to go; and for one that nobody was told of."""
    content = state.content
    if CONTENT_FINALIZER not in content.metadata.finalizers:
        return
    if why:
        yield Emit(content, "Warning", "SnapshotDeleteError", f"Failed to delete snapshot: {why}")
    if content.spec.deletion_policy == "Delete":
        handle = content.status.snapshot_handle or content.spec.source.snapshot_handle
        yield Send(Forget(volumes, handle, content.spec.source.volume_handle, _name(content)))
    left = tuple(one for one in content.metadata.finalizers if one != CONTENT_FINALIZER)
    yield Patch(content, _held(content, left))


def _failed(state: State, why: str) -> Iterable[Action]:
    status = state.content.status
    if status.error is None or status.error.message != why:
        yield Emit(state.content, "Warning", "SnapshotCreationFailed", f"Failed to create snapshot: {why}")
        told = replace(status, ready_to_use=False, error=SnapshotError(message=why, time=state.now))
        yield PatchStatus(state.content, replace(state.content, status=told))


def _name(content: VolumeSnapshotContent) -> str:
    return content.metadata.name.replace("snapcontent-", "snapshot-", 1)


def _held(content: VolumeSnapshotContent, finalizers: tuple[str, ...]) -> VolumeSnapshotContent:
    return replace(content, metadata=replace(content.metadata, finalizers=finalizers))


def controller(volumes: Volumes, memory: Memory) -> Controller[State]:
    return Controller(
        "cloud-volume-snapshotter",
        VolumeSnapshotContent,
        partial(observe, memory),
        partial(diff, volumes, memory),
        source=DRIVER,
    )
