"""The next steps of a stateful set; pure.

Theory of operation. Ordinals from ``start`` on have a slot each; pods beyond the last slot are condemned. In order of
ordinal every slot is filled and put right; then the condemned go, highest first; then pods of an old revision go, highest
first, down to the partition. With OrderedReady each step waits for all before it: a pod that is not available, or on its
way out, blocks what comes after it. With Parallel nothing does, a pod that fails again and again neither: only the update
counts what is available (maxUnavailable).
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kybern.api.apps_v1 import StatefulSet
from kybern.api.core_v1 import PersistentVolumeClaim, Pod, PodTemplateSpec
from kybern.controllers.statefulset.pods import (
    POD_NAME,
    claims_of,
    identified,
    is_going,
    kept_by,
    new_claim,
    new_pod,
    ordinal_of,
    revision_of,
    with_storage,
)
from kybern.loop.controller import Action, Again, Create, Delete, Emit, Patch
from kybern.loop.pods import available_in, is_terminal
from kybern.loop.rollout import scaled

type Steps = Generator[Action, None, bool]


@dataclass(frozen=True, slots=True)
class Revisions:
    """The names of the revision that pods have and of the one that they are to get, and the template of the first."""

    current: str
    update: str
    template: PodTemplateSpec


@dataclass(frozen=True, slots=True)
class Picture:
    """A set with its pods and claims at one moment."""

    wanted: StatefulSet
    pods: tuple[Pod, ...]
    claims: Mapping[str, PersistentVolumeClaim]
    revisions: Revisions
    now: datetime

    @property
    def start(self) -> int:
        return (self.wanted.spec.ordinals.start or 0) if self.wanted.spec.ordinals is not None else 0

    @property
    def size(self) -> int:
        return 1 if self.wanted.spec.replicas is None else self.wanted.spec.replicas

    @property
    def ordered(self) -> bool:
        return self.wanted.spec.pod_management_policy != "Parallel"

    def by_ordinal(self) -> dict[int, Pod]:
        found = {ordinal_of(pod, self.wanted): pod for pod in self.pods}
        return {ordinal: pod for ordinal, pod in found.items() if ordinal is not None}

    def is_available(self, pod: Pod) -> bool:
        return (
            pod.status.phase == "Running"
            and pod.metadata.deletion_timestamp is None
            and available_in(pod, self.wanted.spec.min_ready_seconds or 0, self.now) == 0
        )


def partition(wanted: StatefulSet) -> int | None:
    strategy = wanted.spec.update_strategy
    rolling = strategy.rolling_update if strategy is not None else None
    return rolling.partition if rolling is not None else None


def max_unavailable(picture: Picture) -> int:
    strategy = picture.wanted.spec.update_strategy
    rolling = strategy.rolling_update if strategy is not None else None
    given = rolling.max_unavailable if rolling is not None else None
    return max(scaled(given, picture.size, up=True), 1) if given is not None else 1


def steps(picture: Picture) -> Iterable[Action]:
    """All that can be done now."""
    present = picture.by_ordinal()
    slots = range(picture.start, picture.start + picture.size)
    for ordinal in slots:
        blocked = yield from _fill(picture, ordinal, present.get(ordinal))
        if blocked and picture.ordered:
            return
    condemned = sorted(set(present) - set(slots), reverse=True)
    for ordinal in condemned:
        yield from _retain(picture, ordinal, present[ordinal], leaving=True)
    if condemned:
        yield from _shrink(picture, [present[ordinal] for ordinal in condemned], present, slots)
        return
    strategy = picture.wanted.spec.update_strategy
    if strategy is None or strategy.type != "OnDelete":
        yield from _update(picture, present, slots)


def _fill(picture: Picture, ordinal: int, pod: Pod | None) -> Steps:
    """Put one slot right. True when nothing else may follow now, if there is an order."""
    wanted = picture.wanted
    if pod is None:
        return (yield from _start(picture, ordinal))
    if is_terminal(pod):
        if pod.metadata.deletion_timestamp is None:
            yield from _recreate(wanted, pod)
        return True
    if pod.status.phase == "Pending":
        yield from _claim(picture, ordinal, pod.metadata.name)
    if picture.ordered and not picture.is_available(pod):
        wait = available_in(pod, wanted.spec.min_ready_seconds or 0, picture.now)
        if wait:
            yield Again(wait + 0.1)
        return True
    if pod.metadata.labels.get(POD_NAME) != pod.metadata.name:
        yield Patch(pod, with_storage(identified(pod, ordinal), wanted, ordinal))
    yield from _retain(picture, ordinal, pod, leaving=False)
    return False


def _recreate(wanted: StatefulSet, pod: Pod) -> Iterable[Action]:
    whose = f"StatefulSet {wanted.metadata.namespace}/{wanted.metadata.name}"
    if pod.status.phase == "Failed":
        text = f"{whose} is recreating failed Pod {pod.metadata.name}"
        yield Emit(wanted, "Warning", "RecreatingFailedPod", text)
    else:
        text = f"{whose} is recreating terminated Pod {pod.metadata.name}"
        yield Emit(wanted, "Normal", "RecreatingTerminatedPod", text)
    yield from removal(wanted, pod)


def removal(wanted: StatefulSet, pod: Pod) -> Iterable[Action]:
    yield Delete(pod)
    text = f"delete Pod {pod.metadata.name} in StatefulSet {wanted.metadata.name} successful"
    yield Emit(wanted, "Normal", "SuccessfulDelete", text)


def _start(picture: Picture, ordinal: int) -> Steps:
    wanted = picture.wanted
    name = f"{wanted.metadata.name}-{ordinal}"
    found = (picture.claims.get(claim) for claim in claims_of(wanted, ordinal))
    if any(claim is not None and is_going(claim, name) for claim in found):
        return True
    yield from _claim(picture, ordinal, name)
    if _is_behind(picture, ordinal):
        pod = new_pod(wanted, picture.revisions.template, picture.revisions.current, ordinal)
    else:
        pod = new_pod(wanted, wanted.spec.template, picture.revisions.update, ordinal)
    yield Create(pod)
    text = f"create Pod {name} in StatefulSet {wanted.metadata.name} successful"
    yield Emit(wanted, "Normal", "SuccessfulCreate", text)
    return picture.ordered


def _is_behind(picture: Picture, ordinal: int) -> bool:
    """Whether a pod is made of the revision before: below the partition the update does not count."""
    strategy = picture.wanted.spec.update_strategy
    if strategy is not None and strategy.type == "OnDelete":
        return False
    below = partition(picture.wanted)
    if below is None:
        below = picture.wanted.status.current_replicas or 0
    return ordinal < picture.start + below


def _claim(picture: Picture, ordinal: int, pod: str) -> Iterable[Action]:
    """Make the claims that a pod lacks."""
    wanted = picture.wanted
    for template in wanted.spec.volume_claim_templates:
        claim = new_claim(template, wanted, ordinal)
        if claim.metadata.name not in picture.claims:
            yield Create(claim)
            text = (
                f"create Claim {claim.metadata.name} Pod {pod} in StatefulSet {wanted.metadata.name} success"
            )
            yield Emit(wanted, "Normal", "SuccessfulCreate", text)


def _retain(picture: Picture, ordinal: int, pod: Pod, *, leaving: bool) -> Iterable[Action]:
    """Who owns a pod's claims follows from the retention policy."""
    for name in claims_of(picture.wanted, ordinal):
        claim = picture.claims.get(name)
        if claim is not None and claim.metadata.deletion_timestamp is None:
            new = kept_by(claim, picture.wanted, pod, leaving=leaving)
            if new is not claim:
                yield Patch(claim, new)


def _shrink(
    picture: Picture, condemned: list[Pod], present: Mapping[int, Pod], slots: range
) -> Iterable[Action]:
    """Delete pods beyond the last slot: one by one when ordered, and a broken one only if it is the lowest broken."""
    rest = [present[one] for one in slots if one in present] + condemned[::-1]
    broken = next((pod for pod in rest if not picture.is_available(pod)), None)
    for pod in condemned:
        going = pod.metadata.deletion_timestamp is not None
        if not picture.ordered:
            yield from () if going else removal(picture.wanted, pod)
        elif going or (broken is not None and pod is not broken and not picture.is_available(pod)):
            return
        else:
            yield from removal(picture.wanted, pod)
            return


def _update(picture: Picture, present: Mapping[int, Pod], slots: range) -> Iterable[Action]:
    """Delete pods of an old revision, highest ordinal first; those that do not serve cost nothing."""
    allowed = max_unavailable(picture)
    down = sum(one not in present or not picture.is_available(present[one]) for one in slots)
    passed = 0
    for ordinal in reversed(slots[partition(picture.wanted) or 0 :]):
        pod = present.get(ordinal)
        serves = pod is not None and picture.is_available(pod)
        if pod is not None and revision_of(pod) != picture.revisions.update and not _is_over(pod):
            if serves and down >= allowed:
                continue
            down += serves
            passed += 1
            yield from removal(picture.wanted, pod)
        elif not serves:
            passed += 1
        if passed >= allowed:
            return


def _is_over(pod: Pod) -> bool:
    """Whether a pod goes anyway: what has ended is replaced before anything is updated."""
    return pod.metadata.deletion_timestamp is not None or is_terminal(pod)
