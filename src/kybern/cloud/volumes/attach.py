"""Attach volumes to machines, and detach them, as VolumeAttachments ask. The rules: upstream's external-attacher.

Reads VolumeAttachment, PersistentVolume, Node. Writes VolumeAttachment; attaches and detaches.

A finalizer and the volume's handle are on the attachment before anything is attached, so that it is detached even where
the volume's object has gone. What is attached is brought about again every minute, and when the machine has started anew:
a machine that starts has no volumes. The node may have another name for the device then, which is written, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from kybern.api.core_v1 import Node, PersistentVolume
from kybern.api.storage_v1 import VolumeAttachment, VolumeError
from kybern.cloud.provider import Volumes
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.errands import Attach, Attached, Detach, Memory
from kybern.cloud.volumes.names import ATTACHER_FINALIZER, DRIVER, HANDLE
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Failure,
    Key,
    Patch,
    PatchStatus,
    Send,
    View,
    WhenChanged,
)
from kybern.machinery.struct import replace

EVERY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class State:
    """``handle``: of the volume, empty when that is gone. ``known``: what the cloud said within a minute."""

    attachment: VolumeAttachment
    handle: str
    provider_id: str
    boot: str
    now: datetime
    known: Attached | None = None
    failure: Failure | None = None


def observe(memory: Memory, view: View, key: Key) -> State | None:
    attachment = view.get(VolumeAttachment, "", key.name)
    if attachment is None:
        for gone in [one for one in memory.attached if one[0] == key.name]:
            del memory.attached[gone]
        return None
    if attachment.spec.attacher != DRIVER:
        return None
    handle = attachment.metadata.annotations.get(HANDLE, "")
    if not handle and attachment.spec.source.persistent_volume_name:
        volume = view.get(PersistentVolume, "", attachment.spec.source.persistent_volume_name)
        handle = objects.handle_of(volume) if volume is not None and objects.is_ours(volume) else ""
    node = view.get(Node, "", attachment.spec.node_name)
    provider_id = node.spec.provider_id if node is not None else ""
    boot = _boot(node) if node is not None else ""
    if attachment.metadata.deletion_timestamp is not None:
        memory.attached.pop(_key(attachment), None)
    known = memory.attached.get(_key(attachment))
    if known is not None and (known.boot != boot or (view.now - known.at).total_seconds() >= EVERY - 5):
        known = None
    return State(attachment, handle, provider_id, boot, view.now, known, view.failure)


def diff(volumes: Volumes, memory: Memory, state: State) -> Iterable[Action]:
    attachment, held = state.attachment, ATTACHER_FINALIZER in state.attachment.metadata.finalizers
    why = str(state.failure.error) if state.failure and isinstance(state.failure.action, Send) else ""
    if attachment.metadata.deletion_timestamp is not None:
        if held:
            yield from _detach(volumes, state, why)
    elif not state.handle:
        name = attachment.spec.source.persistent_volume_name
        yield from _error(state, attaching=f"volume {name or 'of an inline spec'} is none of {DRIVER}")
    elif not held:
        yield Patch(attachment, _marked(attachment, state.handle))
    elif state.known is None:
        yield from _error(state, attaching=why)
        yield Send(
            Attach(
                volumes, state.handle, attachment.spec.node_name, state.provider_id, _key(attachment),
                state.now, state.boot, memory,
            )
        )  # fmt: skip
        yield Again(0.0)
    else:
        status = replace(
            attachment.status, attached=True, attachment_metadata=dict(state.known.told), attach_error=None
        )
        if status != attachment.status:
            yield PatchStatus(attachment, replace(attachment, status=status))


def _detach(volumes: Volumes, state: State, why: str) -> Iterable[Action]:
    attachment = state.attachment
    yield from _error(state, detaching=why)
    if state.handle:
        yield Send(Detach(volumes, state.handle, attachment.spec.node_name, state.provider_id))
    left = tuple(one for one in attachment.metadata.finalizers if one != ATTACHER_FINALIZER)
    yield Patch(attachment, replace(attachment, metadata=replace(attachment.metadata, finalizers=left)))


def _error(state: State, attaching: str = "", detaching: str = "") -> Iterable[Action]:
    """Tell it where the attach-detach controller looks for it, and say it once: the time of an error is no news."""
    status = state.attachment.status
    if attaching and (status.attach_error is None or status.attach_error.message != attaching):
        status = replace(status, attach_error=VolumeError(message=attaching, time=state.now))
    if detaching and (status.detach_error is None or status.detach_error.message != detaching):
        status = replace(status, detach_error=VolumeError(message=detaching, time=state.now))
    if status != state.attachment.status:
        yield PatchStatus(state.attachment, replace(state.attachment, status=status))


def _marked(attachment: VolumeAttachment, handle: str) -> VolumeAttachment:
    metadata = replace(
        attachment.metadata,
        finalizers=(*attachment.metadata.finalizers, ATTACHER_FINALIZER),
        annotations={**attachment.metadata.annotations, HANDLE: handle},
    )
    return replace(attachment, metadata=metadata)


def _key(attachment: VolumeAttachment) -> tuple[str, str]:
    return attachment.metadata.name, attachment.metadata.uid


def _boot(node: Node) -> str:
    return node.status.node_info.boot_id if node.status.node_info is not None else ""


def _of_node(node: Node, view: View) -> Iterable[Key]:
    for one in view.list(VolumeAttachment):
        if one.spec.node_name == node.metadata.name:
            yield Key("", one.metadata.name)


def _of_volume(volume: PersistentVolume, view: View) -> Iterable[Key]:
    if objects.is_ours(volume):
        for one in view.list(VolumeAttachment):
            if one.spec.source.persistent_volume_name == volume.metadata.name:
                yield Key("", one.metadata.name)


def controller(volumes: Volumes, memory: Memory) -> Controller[State]:
    return Controller(
        "cloud-volume-attacher",
        VolumeAttachment,
        partial(observe, memory),
        partial(diff, volumes, memory),
        watches=((Node, WhenChanged(_boot, _of_node)), (PersistentVolume, _of_volume)),
        every=EVERY,
        source=DRIVER,
    )
