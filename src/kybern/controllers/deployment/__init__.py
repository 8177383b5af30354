"""Roll a deployment's template out over replica sets, a few pods at a time.

Reads Deployment, ReplicaSet (and Pod, for the strategy Recreate). Writes ReplicaSet, Deployment's revision annotation
and status.

A round has four steps. *Settle* adopts replica sets that the selector matches. *Plan* says of every replica set how it
should be: annotations (revision, sizes), and a size that follows from the strategy; a missing one for the template is
made. Each replica set gets one patch, with all that is to change. *Tidy* deletes old replica sets beyond
``revisionHistoryLimit``. *Status* counts, and keeps the conditions Available, Progressing and ReplicaFailure with
upstream's reasons, for ``kubectl rollout`` reads those.

A replica set's name ends in a hash of the template (``pod-template-hash``); when that name is taken by another template,
``status.collisionCount`` makes the next hash differ. Rollback is a change of the template by the client: the old replica
set of that template is found again and gets a new revision.
"""

from collections.abc import Iterable

from kybern.api.apps_v1 import Deployment, ReplicaSet, ReplicaSetSpec
from kybern.api.core_v1 import Pod, PodTemplateSpec
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers.deployment.plan import (
    HASH,
    REVISION,
    Plan,
    State,
    annotations_of,
    is_scaled,
    new_size,
    old_pods_run,
    plan,
    replicas,
    revision,
    sized,
    strategy,
    template_hash,
)
from kybern.controllers.deployment.progress import is_complete, progressing, status
from kybern.loop.controller import Action, Controller, Create, Delete, Emit, Key, Patch, PatchStatus, View
from kybern.loop.owners import claim, controller_of, controller_reference, orphaned, selector_of, settle
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace


def observe(view: View, key: Key) -> State | None:
    wanted = view.get(Deployment, *key)
    if wanted is None:
        return None
    found = claim(
        wanted,
        selector_of(wanted.spec.selector),
        view.owned(ReplicaSet, wanted),
        view.index(ReplicaSet, "orphan", key.namespace),
    )
    if found.adoptable:
        # One that is being deleted, which the cache may not know yet, must not adopt.
        fresh = view.live(Deployment, *key)
        if (
            fresh is None
            or fresh.metadata.uid != wanted.metadata.uid
            or fresh.metadata.deletion_timestamp is not None
        ):
            return None
    name = f"{wanted.metadata.name}-{template_hash(wanted)}"
    other = view.get(ReplicaSet, key.namespace, name)
    foreign = frozenset((name,)) if other is not None and other not in found.mine else frozenset[str]()
    running = {}
    if strategy(wanted) == "Recreate":
        for one in found.mine:
            pods = (pod for pod in view.owned(Pod, one) if pod.status.phase not in {"Succeeded", "Failed"})
            running[one.metadata.uid] = sum(1 for _ in pods)
    return State(wanted, found, view.now, foreign, running, view.failure)


def diff(state: State) -> Iterable[Action]:
    yield from settle(state.wanted, state.claim)
    if state.claim.adoptable:
        return
    found = plan(state)
    if state.wanted.metadata.deletion_timestamp is not None:
        yield from status(state, found)
    elif may_create(state, found):
        yield from _create(state, found)
    else:
        yield from _change(state, found)
        bears = _with_revision(state, found)
        if bears is not None:
            # The status follows in the next round: one write to an object at a time.
            yield Patch(state.wanted, bears)
            return
        yield from status(state, found)
        # A rollout that is paused may never be complete; what is old and empty goes all the same.
        if not found.changed() and (state.wanted.spec.paused or is_complete(state.wanted, found)):
            yield from _tidy(state, found)


def may_create(state: State, found: Plan) -> bool:
    """Whether the template's replica set is to be made now."""
    if found.new is not None or state.wanted.spec.paused or is_scaled(state.wanted, found):
        return False
    return strategy(state.wanted) != "Recreate" or not (found.changed() or old_pods_run(state, found))


def _create(state: State, found: Plan) -> Iterable[Action]:
    wanted = state.wanted
    name = f"{wanted.metadata.name}-{template_hash(wanted)}"
    if name in state.foreign:
        count = (wanted.status.collision_count or 0) + 1
        yield PatchStatus(wanted, replace(wanted, status=replace(wanted.status, collision_count=count)))
        return
    if state.failure is not None and isinstance(state.failure.action, Create):
        reason = f'Failed to create new replica set "{name}": {state.failure.error.message}'
        yield from status(state, found, progressing(state.now, "False", "ReplicaSetCreateError", reason))
    size = new_size(wanted, found, 0)
    yield Create(_replica_set(state, found, name, size))
    if size:
        message = f"Scaled up replica set {name} from 0 to {size}"
        yield Emit(wanted, "Normal", "ScalingReplicaSet", message)
    if state.failure is None:
        message = f'Created new replica set "{name}"'
        yield from status(state, found, progressing(state.now, "True", "NewReplicaSetCreated", message))


def _replica_set(state: State, found: Plan, name: str, size: int) -> ReplicaSet:
    wanted = state.wanted
    mark = {HASH: name.removeprefix(f"{wanted.metadata.name}-")}
    template: PodTemplateSpec = wanted.spec.template
    labels = {**template.metadata.labels, **mark}
    selector: LabelSelector = wanted.spec.selector
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name,
            namespace=wanted.metadata.namespace,
            labels=labels,
            annotations=sized(wanted, annotations_of(state, found, None)),
            owner_references=(controller_reference(wanted),),
        ),
        spec=ReplicaSetSpec(
            replicas=size,
            min_ready_seconds=wanted.spec.min_ready_seconds,
            selector=replace(selector, match_labels={**selector.match_labels, **mark}),
            template=replace(template, metadata=replace(template.metadata, labels=labels)),
        ),
    )


def _change(state: State, found: Plan) -> Iterable[Action]:
    """One patch for each replica set that is to change."""
    for one in found.all:
        annotations = annotations_of(state, found, one) if one is found.new else one.metadata.annotations
        if one.metadata.name in found.annotate:
            annotations = sized(state.wanted, annotations)
        spec = replace(one.spec, replicas=found.size(one))
        if one is found.new:
            spec = replace(spec, min_ready_seconds=state.wanted.spec.min_ready_seconds)
        changed = replace(one, metadata=replace(one.metadata, annotations=annotations), spec=spec)
        if changed != one:
            yield Patch(one, changed)
        before, after = replicas(one), found.size(one)
        if before != after:
            way = "up" if after > before else "down"
            message = f"Scaled {way} replica set {one.metadata.name} from {before} to {after}"
            yield Emit(state.wanted, "Normal", "ScalingReplicaSet", message)


def _with_revision(state: State, found: Plan) -> Deployment | None:
    """The deployment with its new replica set's revision, when it does not show that yet."""
    wanted = state.wanted
    if found.new is None:
        return None
    number = annotations_of(state, found, found.new).get(REVISION, "")
    if not number or wanted.metadata.annotations.get(REVISION) == number:
        return None
    annotations = {**wanted.metadata.annotations, REVISION: number}
    return replace(wanted, metadata=replace(wanted.metadata, annotations=annotations))


def _tidy(state: State, found: Plan) -> Iterable[Action]:
    """Delete the oldest revisions beyond the limit, never one that has or wants pods."""
    limit = state.wanted.spec.revision_history_limit
    if limit is None:
        return
    alive = sorted((one for one in found.old if one.metadata.deletion_timestamp is None), key=revision)
    for one in alive[: max(len(alive) - limit, 0)]:
        unseen = (one.metadata.generation or 0) > (one.status.observed_generation or 0)
        if not (one.status.replicas or replicas(one) or unseen):
            yield Delete(one)


def deployment_of(pod: Pod, view: View) -> Iterable[Key]:
    """Recreate waits for the end of old pods."""
    owner = controller_of(pod)
    if owner is None or owner.kind != "ReplicaSet":
        return
    parent = view.get(ReplicaSet, pod.metadata.namespace, owner.name)
    above = controller_of(parent) if parent is not None else None
    if above is None:
        return
    wanted = view.get(Deployment, pod.metadata.namespace, above.name)
    if wanted is not None and strategy(wanted) == "Recreate":
        yield Key(pod.metadata.namespace, above.name)


def matching(one: ReplicaSet, view: View) -> Iterable[Key]:
    """A replica set that nobody controls wakes whoever might adopt it."""
    if controller_of(one) is None:
        for wanted in view.list(Deployment, one.metadata.namespace):
            if selector_of(wanted.spec.selector).matches(one.metadata.labels):
                yield Key(wanted.metadata.namespace, wanted.metadata.name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "deployment-controller",
        Deployment,
        observe,
        diff,
        owns=(ReplicaSet,),
        watches=((ReplicaSet, matching), (Pod, deployment_of)),
        indexes=((ReplicaSet, "orphan", orphaned),),
    )
