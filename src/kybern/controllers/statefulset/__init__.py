"""Keep pods with names, ordinals and volumes of their own: what a database is made of.

Reads StatefulSet, Pod, PersistentVolumeClaim, ControllerRevision. Writes Pod, PersistentVolumeClaim,
ControllerRevision, StatefulSet.status.

No two pods ever have the same ordinal: a name is free only when its pod is gone from the API. Claims outlive their pods
unless the retention policy says otherwise. What to do next is in ``plan``; templates are kept as ControllerRevisions, and
every pod bears the name of its own. ``status.currentRevision`` follows when a rolling update is complete.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from kybern.api.core_v1 import PersistentVolumeClaim, Pod
from kybern.controllers.statefulset.plan import Picture, Revisions, steps
from kybern.controllers.statefulset.pods import ordinal_of, revision_of
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Create,
    Delete,
    Emit,
    Failure,
    Key,
    Patch,
    PatchStatus,
    View,
)  # fmt: skip
from kybern.loop.owners import Claim, claim, controller_of, orphaned, selector_of, settle
from kybern.loop.pods import available_in, is_active, is_ready
from kybern.loop.revisions import History, digest, history, made, name_of, surplus, template_of
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

_HASH = "controller.kubernetes.io/hash"


@dataclass(frozen=True, slots=True)
class State:
    picture: Picture
    claim: Claim[Pod]
    revisions: Claim[ControllerRevision]
    history: History
    # The name of the template's revision is another's.
    taken: bool = False
    failure: Failure | None = None


def observe(view: View, key: Key) -> State | None:
    wanted = view.get(StatefulSet, *key)
    if wanted is None:
        return None
    selector = selector_of(wanted.spec.selector)
    orphans = (
        pod
        for pod in view.index(Pod, "orphan", key.namespace)
        if is_active(pod) and ordinal_of(pod, wanted) is not None
    )
    pods = claim(wanted, selector, view.owned(Pod, wanted), orphans)
    revisions = claim(
        wanted,
        selector,
        view.owned(ControllerRevision, wanted),
        view.index(ControllerRevision, "orphan", key.namespace),
    )
    if pods.adoptable or revisions.adoptable:
        # One that is being deleted, which the cache may not know yet, must not adopt.
        fresh = view.live(StatefulSet, *key)
        if fresh is None or fresh.metadata.uid != wanted.metadata.uid or fresh.metadata.deletion_timestamp:
            return None
    found = history(revisions.mine, wanted.spec.template)
    name = name_of(wanted.metadata.name, digest(wanted.spec.template, wanted.status.collision_count))
    other = view.get(ControllerRevision, key.namespace, name)
    taken = found.current is None and other is not None and other not in revisions.adoptable
    update = found.current.metadata.name if found.current is not None else name
    known = view.list(PersistentVolumeClaim, key.namespace) if wanted.spec.volume_claim_templates else ()
    claims = {one.metadata.name: one for one in known}
    picture = Picture(wanted, pods.mine, claims, _revisions(wanted, found, update), view.now)
    return State(picture, pods, revisions, found, taken, view.failure)


def _revisions(wanted: StatefulSet, found: History, update: str) -> Revisions:
    current = next((one for one in found.old if one.metadata.name == wanted.status.current_revision), None)
    template = template_of(current) if current is not None else None
    if current is None or template is None:
        return Revisions(update, update, wanted.spec.template)
    return Revisions(current.metadata.name, update, template)


def diff(state: State) -> Iterable[Action]:
    wanted = state.picture.wanted
    yield from settle(wanted, state.claim)
    yield from settle(wanted, state.revisions)
    if state.claim.adoptable or state.revisions.adoptable:
        return
    if wanted.metadata.deletion_timestamp is not None:
        yield from status(state.picture)
        return
    if state.taken:
        count = (wanted.status.collision_count or 0) + 1
        yield PatchStatus(wanted, replace(wanted, status=replace(wanted.status, collision_count=count)))
        return
    yield from _revise(state)
    # What is told goes before what may fail, so that it is told.
    yield from status(state.picture)
    yield from _failed(state)
    yield from steps(state.picture)
    known = state.picture.revisions
    live = frozenset((known.current, known.update, *map(revision_of, state.claim.mine)))
    for one in surplus(state.history.old, live, wanted.spec.revision_history_limit):
        yield Delete(one)


def _revise(state: State) -> Iterable[Action]:
    """The template's revision is there and has the highest number."""
    wanted, current, number = state.picture.wanted, state.history.current, state.history.following
    if current is None:
        mark = digest(wanted.spec.template, wanted.status.collision_count)
        labels = {**wanted.spec.template.metadata.labels, _HASH: mark}
        yield Create(made(wanted, mark, number, labels, wanted.spec.template))
    elif (current.revision or 0) < number:
        yield Patch(current, replace(current, revision=number))


def _failed(state: State) -> Iterable[Action]:
    """Tell what could not be made or deleted the last time."""
    wanted, failure = state.picture.wanted, state.failure
    if failure is None or not isinstance(failure.action, Create | Delete):
        return
    if isinstance(failure.action.object, Pod):
        verb = "create" if isinstance(failure.action, Create) else "delete"
        name = failure.action.object.metadata.name
        text = (
            f"{verb} Pod {name} in StatefulSet {wanted.metadata.name} failed error: {failure.error.message}"
        )
        yield Emit(wanted, "Warning", f"Failed{verb.title()}", text)


def counted(picture: Picture) -> StatefulSetStatus:
    wanted = picture.wanted
    created = [pod for pod in picture.pods if pod.status.phase]
    ready = [pod for pod in created if pod.status.phase == "Running" and is_ready(pod)]
    minimum = wanted.spec.min_ready_seconds or 0
    marks = [revision_of(pod) for pod in created if pod.metadata.deletion_timestamp is None]
    found = StatefulSetStatus(
        replicas=len(created),
        ready_replicas=len(ready) or None,
        available_replicas=sum(available_in(pod, minimum, picture.now) == 0 for pod in ready),
        current_replicas=marks.count(picture.revisions.current) or None,
        updated_replicas=marks.count(picture.revisions.update) or None,
        current_revision=picture.revisions.current,
        update_revision=picture.revisions.update,
        collision_count=wanted.status.collision_count or 0,
        observed_generation=wanted.metadata.generation,
        conditions=wanted.status.conditions,
    )
    strategy = wanted.spec.update_strategy
    rolls = strategy is None or strategy.type != "OnDelete"
    counts = {found.updated_replicas or 0, found.ready_replicas or 0, found.replicas}
    if rolls and counts == {picture.size}:
        return replace(
            found, current_replicas=found.updated_replicas, current_revision=picture.revisions.update
        )
    return found


def status(picture: Picture) -> Iterable[Action]:
    wanted, found = picture.wanted, counted(picture)
    if found != wanted.status:
        yield PatchStatus(wanted, replace(wanted, status=found))
    minimum = wanted.spec.min_ready_seconds or 0
    waits = [available_in(pod, minimum, picture.now) for pod in picture.pods]
    remaining = [wait for wait in waits if wait]
    if remaining:
        yield Again(min(remaining) + 0.1)


def matching(item: Pod | ControllerRevision, view: View) -> Iterable[Key]:
    """What nobody controls wakes whoever might adopt it."""
    if controller_of(item) is None:
        for one in view.list(StatefulSet, item.metadata.namespace):
            if selector_of(one.spec.selector).matches(item.metadata.labels):
                yield Key(one.metadata.namespace, one.metadata.name)


def claiming(item: PersistentVolumeClaim, view: View) -> Iterable[Key]:
    """A claim wakes the sets that could have made it."""
    for one in view.list(StatefulSet, item.metadata.namespace):
        heads = (f"{t.metadata.name}-{one.metadata.name}-" for t in one.spec.volume_claim_templates)
        if item.metadata.name.startswith(tuple(heads)):
            yield Key(one.metadata.namespace, one.metadata.name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "statefulset-controller",
        StatefulSet,
        observe,
        diff,
        owns=(Pod, ControllerRevision),
        watches=(
            (Pod, matching),
            (ControllerRevision, matching),
            (PersistentVolumeClaim, claiming),
        ),
        indexes=((Pod, "orphan", orphaned), (ControllerRevision, "orphan", orphaned)),
    )
