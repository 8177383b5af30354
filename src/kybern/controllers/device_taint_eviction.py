"""End pods whose devices bear NoExecute taints that their claims do not tolerate, or do not tolerate any longer.

Reads Pod, ResourceClaim, ResourceSlice. Writes Pod (condition DisruptionTarget, deletion). A toleration with seconds holds
from the time at which the taint was added; the shortest of those that apply counts, of several taints the first to end.
Slices of an older generation of their pool are out of date and count for nothing.

Upstream: pkg/controller/devicetainteviction (KEP-5055). Taints by DeviceTaintRule are off by default in v1.36, and not here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from kybern.api.core_v1 import Pod
from kybern.api.resource_v1 import (
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
    ResourceClaim,
    ResourceSlice,
)
from kybern.loop.controller import Action, Again, Controller, Delete, Emit, Key, Measure, PatchStatus, View
from kybern.loop.pods import disrupted, is_terminal
from kybern.loop.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    """A pod, and until when each taint of its devices lets it be."""

    pod: Pod
    ends: tuple[float, ...]
    now: datetime


def observe(view: View, key: Key) -> State | None:
    pod = view.get(Pod, *key)
    if (
        pod is None
        or not pod.spec.node_name
        or pod.metadata.deletion_timestamp is not None
        or is_terminal(pod)
    ):
        return None
    ends = [
        end
        for claim in _claims(view, pod)
        for result in _results(claim)
        for taint in _taints(view, result)
        if (end := remaining(taint, result.tolerations, view.now)) is not None
    ]
    return State(pod, tuple(ends), view.now) if ends else None


def _claims(view: View, pod: Pod) -> Iterator[ResourceClaim]:
    """Those that the pod has reserved: another pod's devices are not its business."""
    given = {one.resource_claim_name for one in pod.spec.resource_claims}
    made = {one.resource_claim_name for one in pod.status.resource_claim_statuses}
    for name in sorted((given | made) - {""}):
        claim = view.get(ResourceClaim, pod.metadata.namespace, name)
        if claim is None or all(user.uid != pod.metadata.uid for user in claim.status.reserved_for):
            continue
        if name in given or any(one.uid == pod.metadata.uid for one in claim.metadata.owner_references):
            yield claim


def _results(claim: ResourceClaim) -> tuple[DeviceRequestAllocationResult, ...]:
    allocation = claim.status.allocation
    return allocation.devices.results if allocation is not None and allocation.devices is not None else ()


def _taints(view: View, result: DeviceRequestAllocationResult) -> Iterator[DeviceTaint]:
    slices = list(view.index(ResourceSlice, "pool", f"{result.driver}/{result.pool}"))
    newest = max((one.spec.pool.generation or 0 for one in slices), default=0)
    for one in slices:
        if (one.spec.pool.generation or 0) == newest:
            for device in one.spec.devices:
                if device.name == result.device:
                    yield from (taint for taint in device.taints if taint.effect == "NoExecute")


def tolerates(toleration: DeviceToleration, taint: DeviceTaint) -> bool:
    """Whether a NoExecute taint is tolerated. Upstream takes no toleration here that leaves the effect open."""
    if toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def remaining(taint: DeviceTaint, tolerations: Iterable[DeviceToleration], now: datetime) -> float | None:
    """Seconds that a user of the device may stay; 0 is none, None is for ever."""
    found = [one for one in tolerations if tolerates(one, taint)]
    if not found:
        return 0.0
    if any(one.toleration_seconds is None for one in found):
        return None
    shortest = min(max(one.toleration_seconds or 0, 0) for one in found)
    return max(shortest - (now - (taint.time_added or now)).total_seconds(), 0.0)


def diff(state: State) -> Iterable[Action]:
    pod, left = state.pod, min(state.ends)
    if left > 0:
        yield Again(left + 0.05)
        return
    marked = disrupted(
        pod,
        "DeletionByDeviceTaintManager",
        "Device Taint manager: deleting due to NoExecute taint",
        state.now,
    )
    if marked is not pod:
        yield PatchStatus(pod, marked)
    yield Emit(pod, "Normal", "DeviceTaintManagerEviction", "Marking for deletion")
    yield Delete(pod)
    yield Measure("device_taint_eviction_controller_pod_deletions_total")


def of_claim(claim: ResourceClaim, _view: View) -> Iterable[Key]:
    for user in claim.status.reserved_for:
        if user.resource == "pods":
            yield Key(claim.metadata.namespace, user.name)


def of_slice(found: ResourceSlice, view: View) -> Iterable[Key]:
    """The pods that use devices of a slice's pool."""
    for claim in view.index(ResourceClaim, "pool", _pool(found)):
        yield from of_claim(claim, view)


def _pool(found: ResourceSlice) -> str:
    return f"{found.spec.driver}/{found.spec.pool.name}"


def by_pool(found: ResourceSlice) -> Iterable[str]:
    """Index: slices by driver and pool."""
    yield _pool(found)


def by_allocated_pool(claim: ResourceClaim) -> Iterable[str]:
    """Index: claims by the pools whose devices they have."""
    return {f"{one.driver}/{one.pool}" for one in _results(claim)}


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "device-taint-eviction-controller",
        Pod,
        observe,
        diff,
        watches=((ResourceClaim, of_claim), (ResourceSlice, of_slice)),
        indexes=((ResourceSlice, "pool", by_pool), (ResourceClaim, "pool", by_allocated_pool)),
    )
