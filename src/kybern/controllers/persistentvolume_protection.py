"""Keep a volume that is deleted for as long as it is bound to a claim.

Reads PersistentVolume. Writes the finalizer kubernetes.io/pv-protection.
"""

from collections.abc import Iterable

from kybern.api.core_v1 import PersistentVolume
from kybern.loop.controller import Action, Controller, Key, View
from kybern.loop.finalizers import protect
from kybern.loop.settings import Settings

FINALIZER = "kubernetes.io/pv-protection"


def observe(view: View, key: Key) -> PersistentVolume | None:
    return view.get(PersistentVolume, "", key.name)


def diff(volume: PersistentVolume) -> Iterable[Action]:
    yield from protect(volume, FINALIZER, used=volume.status.phase == "Bound")


def controller(_settings: Settings) -> Controller[PersistentVolume]:
    return Controller(
        "persistentvolume-protection-controller",
        PersistentVolume,
        observe,
        diff,
        component="pv-protection-controller",
    )
