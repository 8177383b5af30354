"""Make the claims of generic ephemeral volumes: one a volume, named POD-VOLUME, owned by its pod.

Reads Pod, PersistentVolumeClaim. Writes PersistentVolumeClaim. A claim of that name that was made for something else is
never used nor touched: the pod waits, and an event says why. The claim goes with its pod, by the garbage collector.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolumeClaim, Pod, Volume
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.claims import by_claim, claim_name, is_made_for
from kybern.loop.controller import Action, Controller, Create, Emit, Failure, Key, View
from kybern.loop.owners import controller_reference
from kybern.loop.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    """A pod, its ephemeral volumes with the claims that bear their names, and what went wrong the last time."""

    pod: Pod
    volumes: tuple[tuple[Volume, PersistentVolumeClaim | None], ...]
    failure: Failure | None = None


def observe(view: View, key: Key) -> State | None:
    pod = view.get(Pod, *key)
    if pod is None or pod.metadata.deletion_timestamp is not None:
        return None
    found = tuple(
        (one, view.get(PersistentVolumeClaim, key.namespace, claim_name(pod, one)))
        for one in pod.spec.volumes
        if one.ephemeral is not None
    )
    return State(pod, found, view.failure) if found else None


def diff(state: State) -> Iterable[Action]:
    for volume, claim in state.volumes:
        if claim is None:
            yield from _said(state, volume)
            yield Create(wanted(state.pod, volume))
        elif not is_made_for(claim, state.pod):
            yield _told(state.pod, volume, _foreign(claim, state.pod))
            return


def wanted(pod: Pod, volume: Volume) -> PersistentVolumeClaim:
    """The claim of an ephemeral volume, out of the template in it."""
    template = volume.ephemeral.volume_claim_template if volume.ephemeral is not None else None
    metadata = ObjectMeta(
        name=claim_name(pod, volume),
        namespace=pod.metadata.namespace,
        owner_references=(controller_reference(pod),),
        annotations=template.metadata.annotations if template is not None else {},
        labels=template.metadata.labels if template is not None else {},
    )
    if template is None:
        return PersistentVolumeClaim(metadata=metadata)
    return PersistentVolumeClaim(metadata=metadata, spec=template.spec)


def _said(state: State, volume: Volume) -> Iterable[Action]:
    """That the last attempt to make this claim failed."""
    failure, name = state.failure, claim_name(state.pod, volume)
    if failure is None or not isinstance(failure.action, Create):
        return
    made = failure.action.object
    if isinstance(made, PersistentVolumeClaim) and made.metadata.name == name:
        yield _told(state.pod, volume, f"create PVC {name}: {failure.error}")


def _told(pod: Pod, volume: Volume, problem: str) -> Emit:
    return Emit(pod, "Warning", "FailedBinding", f"ephemeral volume {volume.name}: {problem}")


def _foreign(claim: PersistentVolumeClaim, pod: Pod) -> str:
    one = f"PVC {claim.metadata.namespace}/{claim.metadata.name}"
    return f"{one} was not created for pod {pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"


def pods_of(claim: PersistentVolumeClaim, view: View) -> Iterable[Key]:
    """The pods that use a claim: when it goes, one of them may need another."""
    for pod in view.index(Pod, "claim", f"{claim.metadata.namespace}/{claim.metadata.name}"):
        yield Key(pod.metadata.namespace, pod.metadata.name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "ephemeral-volume-controller",
        Pod,
        observe,
        diff,
        watches=((PersistentVolumeClaim, pods_of),),
        indexes=((Pod, "claim", by_claim),),
        source="ephemeral_volume",
    )
