"""Keep a volume attributes class that is deleted for as long as a claim or a volume names it.

Reads VolumeAttributesClass, PersistentVolumeClaim, PersistentVolume. Writes the finalizer kubernetes.io/vac-protection.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.api.storage_v1 import VolumeAttributesClass
from kybern.loop.controller import Action, Controller, Key, View
from kybern.loop.finalizers import is_held, protect
from kybern.loop.settings import Settings

FINALIZER = "kubernetes.io/vac-protection"


@dataclass(frozen=True, slots=True)
class State:
    attributes: VolumeAttributesClass
    used: bool


def observe(view: View, key: Key) -> State | None:
    found = view.get(VolumeAttributesClass, "", key.name)
    if found is None:
        return None
    if not is_held(found, FINALIZER):
        return State(found, used=True)
    users = (
        *view.index(PersistentVolume, "attributes", key.name),
        *view.index(PersistentVolumeClaim, "attributes", key.name),
    )
    return State(found, bool(users))


def named(item: PersistentVolume | PersistentVolumeClaim) -> Iterable[str]:
    """Index: the classes that a volume has, or that a claim asks for, has, or is on its way to."""
    if item.spec.volume_attributes_class_name:
        yield item.spec.volume_attributes_class_name
    if isinstance(item, PersistentVolumeClaim):
        if item.status.current_volume_attributes_class_name:
            yield item.status.current_volume_attributes_class_name
        target = item.status.modify_volume_status
        if target is not None and target.target_volume_attributes_class_name:
            yield target.target_volume_attributes_class_name


def wakes(item: PersistentVolume | PersistentVolumeClaim, _view: View) -> Iterable[Key]:
    for name in named(item):
        yield Key("", name)


def diff(state: State) -> Iterable[Action]:
    yield from protect(state.attributes, FINALIZER, used=state.used)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "volumeattributesclass-protection-controller",
        VolumeAttributesClass,
        observe,
        diff,
        watches=((PersistentVolume, wakes), (PersistentVolumeClaim, wakes)),
        indexes=((PersistentVolume, "attributes", named), (PersistentVolumeClaim, "attributes", named)),
    )
