"""Have volumes attached to the nodes of the pods that use them, and detached when they do not any more.

Reads Node, Pod, PersistentVolumeClaim, PersistentVolume, CSIDriver, VolumeAttachment. Writes VolumeAttachment,
Node.status.volumesAttached.

A key is a node. A VolumeAttachment asks the driver's attacher outside to do it; once that says it is attached, the node's
status tells the kubelet. The other way round the status comes first, and then the VolumeAttachment goes: but not while the
kubelet still has the volume mounted (volumesInUse), unless the node is out of service, or has not been ready for six
minutes in which nothing used the volume. Only nodes are served whose kubelet leaves it to this loop. A volume that one
node may have at a time is not attached to a second one. An attachment that somebody else made, which its name tells, is
left to them.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kybern.api.core_v1 import AttachedVolume, Node, PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec
from kybern.loop.claims import by_claim, claim_name
from kybern.loop.controller import Action, Again, Controller, Create, Delete, Emit, Key, PatchStatus, View
from kybern.loop.pods import by_node, is_terminal
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_PATIENCE = 360.0
_OURS = re.compile("csi-[0-9a-f]{64}")
_MANY = frozenset({"ReadWriteMany", "ReadOnlyMany"})


@dataclass(frozen=True, slots=True)
class State:
    """A node (None: it is gone), what its pods use, its attachments, those elsewhere, and since when some are not used.

    ``used``: pods by volume. ``elsewhere``: the names of volumes that other nodes have, with the pods there that use them.
    """

    name: str
    node: Node | None
    used: Mapping[str, tuple[Pod, ...]]
    volumes: Mapping[str, PersistentVolume]
    attachments: tuple[VolumeAttachment, ...]
    elsewhere: Mapping[str, tuple[str, ...]]
    unused: Mapping[str, datetime]
    now: datetime


@dataclass(slots=True)
class Observer:
    """Remembers since when attachments are not used any more."""

    unused: dict[str, datetime] = field(default_factory=dict)

    def observe(self, view: View, key: Key) -> State | None:
        node = view.get(Node, "", key.name)
        attachments = tuple(view.index(VolumeAttachment, "node", key.name))
        managed = node is not None and node.metadata.annotations.get(MANAGED) == "true"
        if not attachments and not managed:
            return None
        used, volumes = _used(view, key.name) if managed else ({}, {})
        elsewhere = {name: _elsewhere(view, name, key.name) for name in used}
        for one in attachments:
            name = one.spec.source.persistent_volume_name
            if name in used:
                self.unused.pop(one.metadata.uid, None)
            else:
                self.unused.setdefault(one.metadata.uid, view.now)
                found = view.get(PersistentVolume, "", name)
                if found is not None:
                    volumes[name] = found
        there = {one.metadata.uid for one in view.list(VolumeAttachment)}
        for gone in set(self.unused) - there:
            del self.unused[gone]
        others = {name: pods for name, pods in elsewhere.items() if pods is not None}
        return State(key.name, node, used, volumes, attachments, others, dict(self.unused), view.now)


def _used(view: View, node: str) -> tuple[dict[str, tuple[Pod, ...]], dict[str, PersistentVolume]]:
    used: dict[str, tuple[Pod, ...]] = {}
    volumes: dict[str, PersistentVolume] = {}
    for pod in sorted(view.index(Pod, "node", node), key=lambda one: one.metadata.name):
        for found in volumes_of(view, pod):
            used[found.metadata.name] = (*used.get(found.metadata.name, ()), pod)
            volumes[found.metadata.name] = found
    return used, volumes


def volumes_of(view: View, pod: Pod) -> Iterable[PersistentVolume]:
    """The volumes of a pod that somebody has to attach; none when nothing of it runs any more."""
    if is_terminal(pod):
        return
    for volume in pod.spec.volumes:
        name = claim_name(pod, volume)
        claim = view.get(PersistentVolumeClaim, pod.metadata.namespace, name) if name else None
        if claim is None or claim.status.phase != "Bound":
            continue
        found = view.get(PersistentVolume, "", claim.spec.volume_name)
        if found is None or found.spec.csi is None:
            continue
        driver = view.get(CSIDriver, "", found.spec.csi.driver)
        if driver is None or driver.spec.attach_required is not False:
            yield found


def _elsewhere(view: View, volume: str, node: str) -> tuple[str, ...] | None:
    """The pods by which other nodes have a volume; None when none has it."""
    nodes = {one.spec.node_name for one in view.index(VolumeAttachment, "volume", volume)} - {node}
    if not nodes:
        return None
    pods = (pod for name in sorted(nodes) for pod in view.index(Pod, "node", name))
    return tuple(
        pod.metadata.name for pod in pods if any(one.metadata.name == volume for one in volumes_of(view, pod))
    )


def name_of(volume: PersistentVolume, node: str) -> str:
    """What attacher and kubelet call an attachment: by handle, driver and node, since that is what it is about."""
    csi = volume.spec.csi
    seed = f"{csi.volume_handle}{csi.driver}{node}" if csi is not None else f"{volume.metadata.name}{node}"
    return f"csi-{hashlib.sha256(seed.encode()).hexdigest()}"


def unique_name(volume: PersistentVolume) -> str:
    """What a node's status calls a volume."""
    csi = volume.spec.csi
    return f"kubernetes.io/csi/{csi.driver}^{csi.volume_handle}" if csi is not None else ""


def diff(state: State) -> Iterable[Action]:
    by_volume = {one.spec.source.persistent_volume_name: one for one in state.attachments}
    leaving = [one for one in state.attachments if _may_leave(state, one)]
    yield from _reported(state, by_volume, leaving)
    for one in leaving:
        yield Delete(one)
    for name, pods in state.used.items():
        if name not in by_volume:
            yield from _attach(state, state.volumes[name], pods)
    waits = [_wait(state, one) for one in state.attachments if _is_unused(state, one) and one not in leaving]
    if waits:
        yield Again(max(min(waits), 1.0))


def _is_unused(state: State, one: VolumeAttachment) -> bool:
    return (
        one.spec.source.persistent_volume_name not in state.used
        and one.metadata.deletion_timestamp is None
        and _OURS.fullmatch(one.metadata.name) is not None
    )


def _wait(state: State, one: VolumeAttachment) -> float:
    since = state.unused.get(one.metadata.uid, state.now)
    return _PATIENCE - (state.now - since).total_seconds()


def _may_leave(state: State, one: VolumeAttachment) -> bool:
    if not _is_unused(state, one):
        return False
    node, volume = state.node, state.volumes.get(one.spec.source.persistent_volume_name)
    if node is None or volume is None or unique_name(volume) not in node.status.volumes_in_use:
        return True
    if any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints):
        return True
    ready = any(found.type == "Ready" and found.status == "True" for found in node.status.conditions)
    return not ready and _wait(state, one) <= 0


def _attach(state: State, volume: PersistentVolume, pods: tuple[Pod, ...]) -> Iterable[Action]:
    name = volume.metadata.name
    if name in state.elsewhere and not _MANY & set(volume.spec.access_modes):
        users = state.elsewhere[name]
        why = (
            f"Volume is already used by pod(s) {', '.join(users)}"
            if users
            else "Volume is already exclusively attached to one node and can't be attached to another"
        )
        for pod in pods:
            text = f'Multi-Attach error for volume "{name}" {why}'
            yield Emit(pod, "Warning", "FailedAttachVolume", text)
        return
    spec = VolumeAttachmentSpec(
        attacher=volume.spec.csi.driver if volume.spec.csi is not None else "",
        node_name=state.name,
        source=VolumeAttachmentSource(persistent_volume_name=name),
    )
    yield Create(VolumeAttachment(metadata=ObjectMeta(name=name_of(volume, state.name)), spec=spec))


def _reported(
    state: State, by_volume: Mapping[str, VolumeAttachment], leaving: list[VolumeAttachment]
) -> Iterable[Action]:
    """The node's list of what is attached, and what its pods are told of it."""
    node = state.node
    if node is None:
        return
    attached = {
        unique_name(volume): name
        for name, volume in state.volumes.items()
        if name in by_volume
        and by_volume[name] not in leaving
        and by_volume[name].metadata.deletion_timestamp is None
        and by_volume[name].status.attached
    }
    before = {one.name for one in node.status.volumes_attached}
    for unique in sorted(set(attached) - before):
        for pod in state.used.get(attached[unique], ()):
            text = f'AttachVolume.Attach succeeded for volume "{attached[unique]}" '
            yield Emit(pod, "Normal", "SuccessfulAttachVolume", text)
    for name, pods in state.used.items():
        error = by_volume[name].status.attach_error if name in by_volume else None
        if error is not None and not by_volume[name].status.attached:
            for pod in pods:
                text = f'AttachVolume.Attach failed for volume "{name}" : {error.message}'
                yield Emit(pod, "Warning", "FailedAttachVolume", text)
    if set(attached) != before:
        listed = tuple(AttachedVolume(name=unique, device_path="") for unique in sorted(attached))
        yield PatchStatus(node, replace(node, status=replace(node.status, volumes_attached=listed)))


def at_node(one: VolumeAttachment) -> Iterable[str]:
    """Index: attachments by node."""
    yield one.spec.node_name


def of_volume(one: VolumeAttachment) -> Iterable[str]:
    """Index: attachments by volume."""
    if one.spec.source.persistent_volume_name:
        yield one.spec.source.persistent_volume_name


def node_of(pod: Pod, _view: View) -> Iterable[Key]:
    if pod.spec.node_name and any(claim_name(pod, one) for one in pod.spec.volumes):
        yield Key("", pod.spec.node_name)


def nodes_by(claim: PersistentVolumeClaim, view: View) -> Iterable[Key]:
    """The nodes of the pods that use a claim: it may have been bound after they were placed."""
    for pod in view.index(Pod, "claim", f"{claim.metadata.namespace}/{claim.metadata.name}"):
        yield from node_of(pod, view)


def nodes_of(one: VolumeAttachment, _view: View) -> Iterable[Key]:
    yield Key("", one.spec.node_name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "persistentvolume-attach-detach-controller",
        Node,
        Observer().observe,
        diff,
        watches=(
            (Pod, node_of),
            (VolumeAttachment, nodes_of),
            (PersistentVolumeClaim, nodes_by),
            (PersistentVolume, lambda _volume, _view: ()),
            (CSIDriver, lambda _driver, _view: ()),
        ),
        indexes=(
            (Pod, "node", by_node),
            (Pod, "claim", by_claim),
            (VolumeAttachment, "node", at_node),
            (VolumeAttachment, "volume", of_volume),
        ),
        # Two nodes that want the same volume at once: one after the other, so that the second sees the first.
        workers=1,
        every=60.0,
        component="attachdetach-controller",
    )
