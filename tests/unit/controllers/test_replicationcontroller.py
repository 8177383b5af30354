"""What differs from a replica set: the selector is a map, and the status has fewer counts."""

from typing import Any

from kybern.api.core_v1 import (
    Pod,
    ReplicationController,
    ReplicationControllerSpec,
    ReplicationControllerStatus,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import replicationcontroller
from kybern.loop.controller import Create, Delete, Emit, Failure, Key, Patch, PatchStatus
from kybern.loop.replicas import State, diff
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace
from tests.unit.controllers.making import LABELS, every, only, pod, template, view

CONTROLLER = replicationcontroller.controller(Settings())


def owner(count: int, **status: Any) -> ReplicationController:
    return ReplicationController(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-web", generation=1),
        spec=ReplicationControllerSpec(replicas=count, selector=LABELS, template=template()),
        status=ReplicationControllerStatus(**status),
    )


def state_of(wanted: ReplicationController, *pods: Pod, failure: Failure | None = None) -> State:
    seen = view(CONTROLLER, wanted, *pods, failure=failure, live=lambda _question: wanted)
    found = CONTROLLER.observe(seen, Key("a", "web"))
    assert found is not None
    return found


def test_missing_pods_are_made_and_are_its_own() -> None:
    made = only(diff(state_of(owner(2))), Create)

    reference = made[0].object.metadata.owner_references[0]
    assert (len(made), reference.api_version, reference.kind) == (2, "v1", "ReplicationController")


def test_pods_that_match_the_map_are_adopted_and_others_let_go() -> None:
    wanted = owner(1)
    stranger = pod("stranger", wanted)
    stranger = replace(stranger, metadata=replace(stranger.metadata, labels={"app": "other"}))

    adopted = only(diff(state_of(wanted, pod("orphan"))), Patch)
    released = only(diff(state_of(wanted, stranger)), Patch)

    assert adopted[0].new.metadata.owner_references[0].uid == "uid-web"
    assert released[0].new.metadata.owner_references == ()


def test_status_counts_pods_and_is_then_left_alone() -> None:
    wanted = owner(1)
    ready = pod("one", wanted, ready=True, node="n")

    found = only(diff(state_of(wanted, ready)), PatchStatus)[0].new

    assert found.status == ReplicationControllerStatus(
        replicas=1, fully_labeled_replicas=1, ready_replicas=1, available_replicas=1, observed_generation=1
    )
    assert every(diff(state_of(found, ready))) == []


def test_too_little_quota_shows_and_goes_when_fewer_are_asked_for() -> None:
    failure = Failure(Create(pod("x")), Forbidden("exceeded quota"))
    wanted = owner(1)
    one = pod("one", wanted, ready=True, node="n")

    failed = only(diff(state_of(owner(2), one, failure=failure)), PatchStatus)[0].new
    fewer = replace(failed, spec=replace(failed.spec, replicas=1))

    assert [(c.type, c.reason) for c in failed.status.conditions] == [("ReplicaFailure", "FailedCreate")]
    assert only(diff(state_of(fewer, one)), PatchStatus)[0].new.status.conditions == ()


def test_a_pod_that_cannot_be_deleted_is_told() -> None:
    wanted = owner(0)
    one = pod("one", wanted, ready=True, node="n")
    state = state_of(wanted, one, failure=Failure(Delete(one), Forbidden("no")))

    assert Emit(wanted, "Warning", "FailedDelete", "Error deleting: no") in every(diff(state))
    assert only(diff(state), PatchStatus)[0].new.status.conditions[0].reason == "FailedDelete"
