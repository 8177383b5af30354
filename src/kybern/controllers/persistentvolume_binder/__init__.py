"""Bring claims and volumes together, and say what is to become of a volume when its claim goes.

Reads PersistentVolumeClaim, PersistentVolume, StorageClass, Pod. Writes PersistentVolumeClaim, PersistentVolume and their
status, Pod. Volumes are made and deleted by the drivers outside; this loop tells them by annotations and phases.

A key names a claim, or a volume when it has no namespace. That a claim or a volume is gone is asked of the API server
once more before anything is released or lost: the two come by watches that may lag behind each other.
"""

from collections.abc import Iterable
from typing import Any

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from kybern.api.storage_v1 import StorageClass
from kybern.controllers.persistentvolume_binder import claims, recycling, volumes
from kybern.controllers.persistentvolume_binder.claims import Claim
from kybern.controllers.persistentvolume_binder.recycling import Recycler
from kybern.controllers.persistentvolume_binder.volumes import Volume
from kybern.loop.claims import by_claim, claims_behind, class_of, has_class
from kybern.loop.controller import Action, Controller, Key, View
from kybern.loop.pods import is_terminal
from kybern.loop.settings import Settings
from kybern.loop.volume_marks import BIND_COMPLETED
from kybern.loop.volumes import class_of_volume

DEFAULT = "storageclass.kubernetes.io/is-default-class"
_BETA_DEFAULT = "storageclass.beta.kubernetes.io/is-default-class"

type State = Claim | Volume


def observe(view: View, key: Key) -> State | None:
    return _volume(view, key) if not key.namespace else _claim(view, key)


def _claim(view: View, key: Key) -> Claim | None:
    claim = view.get(PersistentVolumeClaim, *key)
    if claim is None:
        return None
    if claim.spec.volume_name or BIND_COMPLETED in claim.metadata.annotations:
        return Claim(claim, _named(view, claim))
    name = class_of(claim)
    at = f"{key.namespace}/{key.name}"
    found = (*view.index(PersistentVolume, "class", name), *view.index(PersistentVolume, "claimed", at))
    waiting = (
        pod.metadata.name
        for pod in view.index(Pod, "claim", at)
        if not pod.spec.node_name and not is_terminal(pod)
    )
    return Claim(
        claim,
        volumes=found,
        storage_class=view.get(StorageClass, "", name) if name else None,
        default=None if has_class(claim) else default_class(view.list(StorageClass)),
        waiting=tuple(sorted(waiting)),
    )


def _named(view: View, claim: PersistentVolumeClaim) -> PersistentVolume | None:
    if not claim.spec.volume_name:
        return None
    found = view.get(PersistentVolume, "", claim.spec.volume_name)
    if found is None and claim.status.phase == "Bound":
        return view.live(PersistentVolume, "", claim.spec.volume_name)
    return found


def _volume(view: View, key: Key) -> Volume | None:
    volume = view.get(PersistentVolume, "", key.name)
    if volume is None:
        return None
    ref = volume.spec.claim_ref
    if ref is None or not ref.uid:
        return Volume(volume)
    claim = view.get(PersistentVolumeClaim, ref.namespace, ref.name)
    if (claim is None or claim.metadata.uid != ref.uid) and volume.status.phase not in {"Released", "Failed"}:
        claim = view.live(PersistentVolumeClaim, ref.namespace, ref.name)
    claim = claim if claim is not None and claim.metadata.uid == ref.uid else None
    return Volume(volume, claim, _recycler(view, volume) if claim is None else None)


def _recycler(view: View, volume: PersistentVolume) -> Recycler | None:
    ref = volume.spec.claim_ref
    if (
        volume.spec.persistent_volume_reclaim_policy != "Recycle"
        or not recycling.knows(volume)
        or ref is None
    ):
        return None
    at = f"{ref.namespace}/{ref.name}"
    users = () if view.get(PersistentVolumeClaim, ref.namespace, ref.name) else view.index(Pod, "claim", at)
    names = (f"{one.metadata.namespace}/{one.metadata.name}" for one in users if not is_terminal(one))
    pod = view.get(Pod, recycling.NAMESPACE, recycling.PREFIX + volume.metadata.name)
    return Recycler(view.now, pod, tuple(sorted(names)))


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The newest of the classes that are marked as default; of equally old ones the first by name."""
    marked = (
        one
        for one in classes
        if "true" in (one.metadata.annotations.get(DEFAULT), one.metadata.annotations.get(_BETA_DEFAULT))
    )
    found = sorted(marked, key=lambda one: one.metadata.name)
    return max(found, key=lambda one: str(one.metadata.creation_timestamp), default=None)


def diff(state: State) -> Iterable[Action]:
    yield from (claims.diff(state) if isinstance(state, Claim) else volumes.diff(state))


def by_class(volume: PersistentVolume) -> Iterable[str]:
    """Index: volumes that nobody claims, by class."""
    if volume.spec.claim_ref is None:
        yield class_of_volume(volume)


def claimed(volume: PersistentVolume) -> Iterable[str]:
    """Index: volumes by the claim that they name, as namespace/name."""
    if volume.spec.claim_ref is not None:
        yield f"{volume.spec.claim_ref.namespace}/{volume.spec.claim_ref.name}"


def unbound(claim: PersistentVolumeClaim) -> Iterable[str]:
    """Index: claims that look for a volume, by class; and all that say nothing of their class, as "?"."""
    if BIND_COMPLETED not in claim.metadata.annotations:
        yield class_of(claim)
        if not has_class(claim):
            yield "?"


def of_volume(volume: PersistentVolume, view: View) -> Iterable[Key]:
    """The volume itself, the claims that name it or that it names, and those that might want it."""
    yield Key("", volume.metadata.name)
    ref = volume.spec.claim_ref
    if ref is not None:
        yield Key(ref.namespace, ref.name)
    elif volume.status.phase == "Available":
        yield from _keys(view.index(PersistentVolumeClaim, "unbound", class_of_volume(volume)))
    yield from _keys(view.index(PersistentVolumeClaim, "volume", volume.metadata.name))


def of_claim(claim: PersistentVolumeClaim, view: View) -> Iterable[Key]:
    at = f"{claim.metadata.namespace}/{claim.metadata.name}"
    for volume in view.index(PersistentVolume, "claimed", at):
        yield Key("", volume.metadata.name)


def of_class(found: StorageClass, view: View) -> Iterable[Key]:
    yield from _keys(view.index(PersistentVolumeClaim, "unbound", found.metadata.name))
    yield from _keys(view.index(PersistentVolumeClaim, "unbound", "?"))


def names_volume(claim: PersistentVolumeClaim) -> Iterable[str]:
    """Index: claims by the volume that they name."""
    if claim.spec.volume_name:
        yield claim.spec.volume_name


def _keys(found: Iterable[Any]) -> Iterable[Key]:
    for claim in found:
        yield Key(claim.metadata.namespace, claim.metadata.name)


def waiting_claims(pod: Pod, view: View) -> Iterable[Key]:
    """The claims of a pod that is not placed yet: what they wait for has changed; and the volume that a pod empties."""
    if not pod.spec.node_name:
        yield from claims_behind(pod, view)
    meta = pod.metadata
    if meta.namespace == recycling.NAMESPACE and meta.name.startswith(recycling.PREFIX):
        yield Key("", meta.name.removeprefix(recycling.PREFIX))


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "persistentvolume-binder-controller",
        PersistentVolumeClaim,
        observe,
        diff,
        watches=(
            (PersistentVolumeClaim, of_claim),
            (PersistentVolume, of_volume),
            (StorageClass, of_class),
            (Pod, waiting_claims),
        ),
        indexes=(
            (PersistentVolume, "class", by_class),
            (PersistentVolume, "claimed", claimed),
            (PersistentVolumeClaim, "unbound", unbound),
            (PersistentVolumeClaim, "volume", names_volume),
            (Pod, "claim", by_claim),
        ),
        every=15.0,
        component="persistent-volume-binder",
        source="persistentvolume-controller",
    )
