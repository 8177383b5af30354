"""Keep a claim that is deleted for as long as a pod on a node uses it.

Reads PersistentVolumeClaim, Pod. Writes the finalizer kubernetes.io/pvc-protection. A pod that is not on a node yet does
not count: kubelets refuse to start pods on claims that are being deleted. That nobody uses a claim is asked of the API
server once more, since a pod may have come that the cache does not know.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolumeClaim, Pod, Volume
from kybern.loop.claims import by_claim, claim_name, claims_behind, is_made_for
from kybern.loop.controller import Action, Controller, Key, View
from kybern.loop.finalizers import is_held, protect
from kybern.loop.settings import Settings

FINALIZER = "kubernetes.io/pvc-protection"


@dataclass(frozen=True, slots=True)
class State:
    claim: PersistentVolumeClaim
    used: bool


def observe(view: View, key: Key) -> State | None:
    claim = view.get(PersistentVolumeClaim, *key)
    if claim is None:
        return None
    if not is_held(claim, FINALIZER):
        return State(claim, used=True)
    known = view.index(Pod, "claim", f"{key.namespace}/{key.name}")
    used = any(uses(pod, claim) for pod in known) or any(
        uses(pod, claim) for pod in view.live_list(Pod, key.namespace)
    )
    return State(claim, used)


def uses(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    return bool(pod.spec.node_name) and any(_through(pod, one, claim) for one in pod.spec.volumes)


def _through(pod: Pod, volume: Volume, claim: PersistentVolumeClaim) -> bool:
    if claim_name(pod, volume) != claim.metadata.name:
        return False
    if volume.persistent_volume_claim is not None:
        return True
    # The pod may wait for its claim to go as the claim for the pod: once kubelet is done with it, the claim goes first.
    return not _is_shut_down(pod) and is_made_for(claim, pod)


def _is_shut_down(pod: Pod) -> bool:
    metadata = pod.metadata
    return metadata.deletion_timestamp is not None and metadata.deletion_grace_period_seconds == 0


def diff(state: State) -> Iterable[Action]:
    yield from protect(state.claim, FINALIZER, used=state.used)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "persistentvolumeclaim-protection-controller",
        PersistentVolumeClaim,
        observe,
        diff,
        watches=((Pod, claims_behind),),
        indexes=((Pod, "claim", by_claim),),
        component="pvc-protection-controller",
    )
