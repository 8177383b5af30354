"""Tell who asked for a larger volume that an external resizer is to make it so.

Reads PersistentVolumeClaim, PersistentVolume. Writes nothing but an event: every volume that can grow is a CSI driver's,
and the driver's own resizer watches claims for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.loop.claims import requested
from kybern.loop.controller import Action, Controller, Emit, Key, View
from kybern.loop.settings import Settings
from kybern.machinery.quantity import parse


@dataclass(frozen=True, slots=True)
class State:
    """A claim, and the volume that it is bound to."""

    claim: PersistentVolumeClaim
    volume: PersistentVolume


def observe(view: View, key: Key) -> State | None:
    claim = view.get(PersistentVolumeClaim, *key)
    if claim is None or claim.status.phase != "Bound":
        return None
    volume = view.get(PersistentVolume, "", claim.spec.volume_name)
    return State(claim, volume) if volume is not None else None


def diff(state: State) -> Iterable[Action]:
    claim, ref = state.claim, state.volume.spec.claim_ref
    if ref is None or ref.uid != claim.metadata.uid:
        return
    if parse(requested(claim)) > parse(claim.status.capacity.get("storage", "0")):
        # Upstream warns where it knows of nobody who could do it.
        kind = "Normal" if state.volume.spec.csi is not None else "Warning"
        yield Emit(claim, kind, "ExternalExpanding", MESSAGE)


MESSAGE = "waiting for an external controller to expand this PVC"


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "persistentvolume-expander-controller",
        PersistentVolumeClaim,
        observe,
        diff,
        watches=((PersistentVolume, _claims),),
        component="expand-controller",
        source="volume_expand",
    )


def _claims(volume: PersistentVolume, _view: View) -> Iterable[Key]:
    if volume.spec.claim_ref is not None:
        yield Key(volume.spec.claim_ref.namespace, volume.spec.claim_ref.name)
