"""Bind snapshots to their contents, as upstream's snapshot-controller does for a driver's (external-snapshotter v8).

Reads VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent, PersistentVolumeClaim, PersistentVolume. Writes
VolumeSnapshot, creates and deletes VolumeSnapshotContent.

    snapshot of a claim ──finalizer──> a content of the volume's handle ──> (contents.py takes it) ──> status from it
    deleted, content of policy Delete ──> the content goes first ──> the finalizer goes
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kybern.api.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim
from kybern.api.meta_v1 import ObjectMeta
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.names import CONTENT_FINALIZER, DRIVER, SNAPSHOT_FINALIZER
from kybern.cloud.volumes.snapshot_api import (
    SnapshotError,
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    VolumeSnapshotContentSource,
    VolumeSnapshotContentSpec,
    VolumeSnapshotStatus,
)
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Create,
    Delete,
    Emit,
    Key,
    Patch,
    PatchStatus,
    View,
)
from kybern.machinery.struct import replace

DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
_AGAIN = 15.0


@dataclass(frozen=True, slots=True)
class State:
    """``handle``, ``mode``: of the claim's volume; ``wrong``: why there is none."""

    snapshot: VolumeSnapshot
    found: VolumeSnapshotClass | None
    content: VolumeSnapshotContent | None
    now: datetime
    handle: str = ""
    mode: str = ""
    wrong: str = ""


def content_name(snapshot: VolumeSnapshot) -> str:
    """The one that is named, or is made."""
    return snapshot.spec.source.volume_snapshot_content_name or f"snapcontent-{snapshot.metadata.uid}"


def observe(view: View, key: Key) -> State | None:
    snapshot = view.get(VolumeSnapshot, *key)
    if snapshot is None:
        return None
    content = view.get(VolumeSnapshotContent, "", content_name(snapshot))
    found = _class_of(view, snapshot)
    driver = content.spec.driver if content is not None else found.driver if found is not None else ""
    if driver != DRIVER and SNAPSHOT_FINALIZER not in snapshot.metadata.finalizers:
        return None
    name = snapshot.spec.source.persistent_volume_claim_name
    if content is not None or not name:
        return State(snapshot, found, content, view.now)
    claim = view.get(PersistentVolumeClaim, key.namespace, name)
    volume = view.get(PersistentVolume, "", claim.spec.volume_name) if claim is not None else None
    if volume is None or not objects.is_ours(volume):
        return State(snapshot, found, None, view.now, wrong=f"claim {name} has no volume of {DRIVER}")
    return State(snapshot, found, None, view.now, objects.handle_of(volume), volume.spec.volume_mode)


def _class_of(view: View, snapshot: VolumeSnapshot) -> VolumeSnapshotClass | None:
    """The one that it names, or the default one of this driver."""
    if name := snapshot.spec.volume_snapshot_class_name:
        return view.get(VolumeSnapshotClass, "", name)
    defaults = (one for one in view.list(VolumeSnapshotClass) if one.driver == DRIVER)
    return next((one for one in defaults if one.metadata.annotations.get(DEFAULT) == "true"), None)


def diff(state: State) -> Iterable[Action]:
    snapshot, content = state.snapshot, state.content
    held = SNAPSHOT_FINALIZER in snapshot.metadata.finalizers
    if snapshot.metadata.deletion_timestamp is not None:
        yield from _deleted(state)
    elif not held:
        yield Patch(snapshot, _held(snapshot, (*snapshot.metadata.finalizers, SNAPSHOT_FINALIZER)))
    elif content is None:
        yield from _content(state)
    elif not _is_for(content, snapshot):
        yield from _failed(state, f"VolumeSnapshotContent {content.metadata.name} is another snapshot's")
    else:
        status = _status(snapshot.status, content)
        if status != snapshot.status:
            yield PatchStatus(snapshot, replace(snapshot, status=status))


def _content(state: State) -> Iterable[Action]:
    snapshot, found = state.snapshot, state.found
    name = snapshot.spec.source.volume_snapshot_content_name
    if name or state.wrong or found is None:
        why = f"VolumeSnapshotContent {name} is not there" if name else state.wrong
        yield from _failed(state, why or "its VolumeSnapshotClass is not there")
        yield Again(_AGAIN)
        return
    ref = ObjectReference(
        api_version=snapshot.api_version,
        kind=snapshot.kind,
        namespace=snapshot.metadata.namespace,
        name=snapshot.metadata.name,
        uid=snapshot.metadata.uid,
        resource_version=snapshot.metadata.resource_version,
    )
    spec = VolumeSnapshotContentSpec(
        deletion_policy=found.deletion_policy,
        driver=DRIVER,
        source=VolumeSnapshotContentSource(volume_handle=state.handle),
        source_volume_mode=state.mode,
        volume_snapshot_class_name=found.metadata.name,
        volume_snapshot_ref=ref,
    )
    metadata = ObjectMeta(name=content_name(snapshot), finalizers=(CONTENT_FINALIZER,))
    text = f"Waiting for a snapshot {snapshot.metadata.namespace}/{snapshot.metadata.name} to be created by the CSI driver."
    yield Emit(snapshot, "Normal", "CreatingSnapshot", text)
    yield Create(VolumeSnapshotContent(metadata=metadata, spec=spec))


def _deleted(state: State) -> Iterable[Action]:
    """What is not this snapshot's content is left alone, and so is one that is to be kept."""
    snapshot, content = state.snapshot, state.content
    if content is not None and _is_for(content, snapshot) and content.spec.deletion_policy == "Delete":
        if content.metadata.deletion_timestamp is None:
            yield Delete(content)
        return
    left = tuple(one for one in snapshot.metadata.finalizers if one != SNAPSHOT_FINALIZER)
    if left != snapshot.metadata.finalizers:
        yield Patch(snapshot, _held(snapshot, left))


def _is_for(content: VolumeSnapshotContent, snapshot: VolumeSnapshot) -> bool:
    ref = content.spec.volume_snapshot_ref
    mine = (snapshot.metadata.namespace, snapshot.metadata.name)
    return (ref.namespace, ref.name) == mine and ref.uid in ("", snapshot.metadata.uid)


def _status(old: VolumeSnapshotStatus, content: VolumeSnapshotContent) -> VolumeSnapshotStatus:
    said = content.status
    created = datetime.fromtimestamp(said.creation_time // 10**9, UTC) if said.creation_time else None
    return replace(
        old,
        bound_volume_snapshot_content_name=content.metadata.name,
        creation_time=created,
        restore_size=objects.bytes_(said.restore_size) if said.restore_size else "",
        ready_to_use=bool(said.ready_to_use),
        error=said.error,
    )


def _failed(state: State, why: str) -> Iterable[Action]:
    """Said once: the time of an error is no news."""
    status = state.snapshot.status
    if status.error is None or status.error.message != why:
        yield Emit(state.snapshot, "Warning", "SnapshotContentCreationFailed", why)
        told = replace(status, ready_to_use=False, error=SnapshotError(message=why, time=state.now))
        yield PatchStatus(state.snapshot, replace(state.snapshot, status=told))


def _held(snapshot: VolumeSnapshot, finalizers: tuple[str, ...]) -> VolumeSnapshot:
    return replace(snapshot, metadata=replace(snapshot.metadata, finalizers=finalizers))


def _of_content(content: VolumeSnapshotContent, _view: View) -> Iterable[Key]:
    yield Key(content.spec.volume_snapshot_ref.namespace, content.spec.volume_snapshot_ref.name)


def _of_class(_found: VolumeSnapshotClass, view: View) -> Iterable[Key]:
    for one in view.list(VolumeSnapshot):
        yield Key(one.metadata.namespace, one.metadata.name)


def controller() -> Controller[State]:
    return Controller(
        "cloud-volume-snapshot-binder",
        VolumeSnapshot,
        observe,
        diff,
        watches=(
            (VolumeSnapshotContent, _of_content),
            (VolumeSnapshotClass, _of_class),
            (PersistentVolumeClaim, _nobody),
            (PersistentVolume, _nobody),
        ),
        source=DRIVER,
    )


def _nobody(_item: object, _view: View) -> Iterable[Key]:
    """Claims and volumes are read, and wake nobody: a snapshot is of what there is when it is taken."""
    return ()
