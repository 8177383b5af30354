"""Rolling a template out."""

from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

import pytest

from kybern.api.apps_v1 import Deployment, DeploymentCondition, DeploymentStrategy, ReplicaSet
from kybern.controllers import deployment as rollout
from kybern.controllers.deployment import diff, observe
from kybern.controllers.deployment.plan import State, limits, plan, template_hash
from kybern.loop.controller import Create, Delete, Emit, Failure, Key, Patch, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace
from tests.unit.controllers.making import NOW, ago, deployment, every, revision, view

CONTROLLER = rollout.controller(Settings())


def state_of(wanted: Deployment, *sets: ReplicaSet, failure: Failure | None = None) -> State:
    found = observe(
        view(CONTROLLER, wanted, *sets, failure=failure, live=lambda _question: wanted), Key("a", "web")
    )
    assert found is not None
    return found


def sizes(state: State) -> dict[str, int]:
    found = plan(state)
    return {one.metadata.name.removeprefix("web-"): found.size(one) for one in found.all}


def of_type(state: State, kind: type) -> list[Any]:
    return [action for action in diff(state) if isinstance(action, kind)]


def reason_of(state: State, kind: str = "Progressing") -> str:
    status = of_type(state, PatchStatus)[0].new.status
    return next((one.reason for one in status.conditions if one.type == kind), "")


def marked(wanted: Deployment, number: int) -> Deployment:
    """The deployment as it shows its revision."""
    return replace(
        wanted,
        metadata=replace(wanted.metadata, annotations={"deployment.kubernetes.io/revision": str(number)}),
    )


def test_a_new_template_gets_a_replica_set_of_full_size_when_there_is_no_other() -> None:
    state = state_of(deployment(4))

    made = of_type(state, Create)[0].object
    assert made.metadata.name == f"web-{template_hash(state.wanted)}"
    assert made.spec.replicas == 4
    assert made.spec.selector.match_labels == made.spec.template.metadata.labels == made.metadata.labels
    assert made.metadata.annotations == {
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "4",
        "deployment.kubernetes.io/max-replicas": "5",
    }
    assert of_type(state, Emit)[0].message == f"Scaled up replica set {made.metadata.name} from 0 to 4"
    assert reason_of(state) == "NewReplicaSetCreated"


def test_a_second_template_starts_with_the_surge() -> None:
    wanted = marked(deployment(4, "new"), 1)

    made = of_type(state_of(wanted, revision(wanted, "old", 1, 4)), Create)[0].object

    assert made.spec.replicas == 1
    assert made.metadata.annotations["deployment.kubernetes.io/revision"] == "2"


@pytest.mark.parametrize(
    ("old", "new", "available", "result"),
    [
        (4, 1, 0, {"hash1": 3, "hash2": 1}),  # maxUnavailable lets an old one go while the new one starts
        (3, 1, 0, {"hash1": 3, "hash2": 2}),  # which makes room for another new one
        (3, 2, 0, {"hash1": 3, "hash2": 2}),  # nothing moves until one of them is available
        (3, 2, 1, {"hash1": 2, "hash2": 2}),
        (3, 2, 2, {"hash1": 1, "hash2": 2}),
        (0, 4, 4, {"hash1": 0, "hash2": 4}),
    ],
)
def test_steps_of_a_rolling_update_of_four(
    old: int, new: int, available: int, result: dict[str, int]
) -> None:
    wanted = deployment(4, "new")

    assert (
        sizes(
            state_of(
                wanted, revision(wanted, "old", 1, old), revision(wanted, "new", 2, new, available=available)
            )
        )
        == result
    )


def test_broken_old_pods_go_first_however_few_are_available() -> None:
    wanted = deployment(4, "new", surge=0, unavailable=1)
    good, broken = revision(wanted, "old", 1, 2), revision(wanted, "bad", 2, 2, available=0)
    new = revision(wanted, "new", 3, 0)

    assert sizes(state_of(wanted, good, broken, new))["hash2"] == 1


def test_template_hash_changes_with_the_template_and_with_collisions() -> None:
    one = deployment(1, "a")
    collided = replace(one, status=replace(one.status, collision_count=1))

    assert len({template_hash(one), template_hash(deployment(1, "b")), template_hash(collided)}) == 3
    assert template_hash(one) == template_hash(deployment(7, "a"))


def test_a_name_that_somebody_has_counts_as_a_collision() -> None:
    wanted = deployment(1)
    stranger = revision(wanted, "other", 1, 1)
    stranger = replace(
        stranger,
        metadata=replace(
            stranger.metadata, name=f"web-{template_hash(wanted)}", owner_references=(), labels={}
        ),
    )

    actions = every(diff(state_of(wanted, stranger)))

    assert [type(action) for action in actions] == [PatchStatus]
    assert actions[0].new.status.collision_count == 1


def test_going_back_gives_the_old_replica_set_a_new_revision_and_remembers_the_old_one() -> None:
    wanted = marked(deployment(4, "old"), 2)
    state = state_of(wanted, revision(wanted, "old", 1, 0), revision(wanted, "new", 2, 4))

    annotations = of_type(state, Patch)[0].new.metadata.annotations
    assert annotations["deployment.kubernetes.io/revision"] == "3"
    assert annotations["deployment.kubernetes.io/revision-history"] == "1"
    shown = of_type(state, Patch)[-1].new
    assert shown.metadata.annotations["deployment.kubernetes.io/revision"] == "3"


def test_scaling_in_the_middle_of_a_rollout_is_shared() -> None:
    wanted = deployment(10, "new")
    before = (revision(wanted, "old", 1, 8), revision(wanted, "new", 2, 5))
    sets = tuple(
        replace(
            one,
            metadata=replace(
                one.metadata,
                annotations={**one.metadata.annotations, "deployment.kubernetes.io/max-replicas": "13"},
            ),
        )
        for one in before
    )
    scaled = replace(wanted, spec=replace(wanted.spec, replicas=20))

    found = sizes(state_of(scaled, *sets))

    assert sum(found.values()) == 25
    assert found["hash1"] > found["hash2"] > 5


def test_scaling_alone_changes_the_one_that_is_there() -> None:
    wanted = marked(deployment(4), 1)
    one = revision(wanted, "i", 1, 4)
    scaled = replace(wanted, spec=replace(wanted.spec, replicas=7))

    changes = of_type(state_of(scaled, one), Patch)

    assert [
        (
            change.new.spec.replicas,
            change.new.metadata.annotations["deployment.kubernetes.io/desired-replicas"],
        )
        for change in changes
    ] == [(7, "7")]


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    wanted = marked(deployment(4, "new", paused=True), 1)
    state = state_of(wanted, revision(wanted, "old", 1, 4))

    assert of_type(state, Create) == of_type(state, Patch) == []
    assert reason_of(state) == "DeploymentPaused"
    scaled = replace(wanted, spec=replace(wanted.spec, replicas=6))
    assert sizes(state_of(scaled, revision(wanted, "old", 1, 4))) == {"hash1": 6}


def test_recreate_ends_all_old_pods_before_the_first_new_one() -> None:
    wanted = deployment(3, "new", strategy=DeploymentStrategy(type="Recreate"))
    running = state_of(wanted, revision(wanted, "old", 1, 3))
    assert sizes(running) == {"hash1": 0}
    assert of_type(running, Create) == []

    ending = changed(state_of(wanted, revision(wanted, "old", 1, 0)), running={"uid-1": 2})
    assert of_type(ending, Create) == []

    ended = changed(ending, running={})
    assert of_type(ended, Create)[0].object.spec.replicas == 3


def test_old_revisions_beyond_the_limit_go_oldest_first() -> None:
    wanted = marked(deployment(2, "e", revision_history_limit=2), 5)
    sets = [revision(wanted, image, number, 0) for number, image in enumerate("abcd", 1)]

    state = state_of(wanted, *sets, revision(wanted, "e", 5, 2))

    assert [action.object.metadata.name for action in of_type(state, Delete)] == ["web-hash1", "web-hash2"]


def test_old_revisions_stay_while_a_rollout_is_going_on() -> None:
    wanted = marked(deployment(2, "e", revision_history_limit=0), 2)

    assert (
        of_type(
            state_of(wanted, revision(wanted, "a", 1, 0), revision(wanted, "e", 2, 2, available=1)), Delete
        )
        == []
    )


def test_old_revisions_of_a_paused_rollout_go() -> None:
    wanted = marked(deployment(2, "e", revision_history_limit=0, paused=True), 3)
    sets = (
        revision(wanted, "a", 1, 0),
        revision(wanted, "b", 2, 1),
        revision(wanted, "e", 3, 2, available=1),
    )

    state = state_of(wanted, *sets)

    assert [action.object.metadata.name for action in of_type(state, Delete)] == ["web-hash1"]


def progressing(reason: str, seconds: float) -> tuple[DeploymentCondition, ...]:
    status = "False" if reason == "ProgressDeadlineExceeded" else "True"
    return (
        DeploymentCondition(
            type="Progressing",
            status=status,
            reason=reason,
            last_update_time=ago(seconds),
            last_transition_time=ago(seconds),
        ),
    )


def with_status(wanted: Deployment, **status: Any) -> Deployment:
    return replace(wanted, status=replace(wanted.status, **status))


def test_a_finished_rollout_says_so() -> None:
    wanted = marked(with_status(deployment(4), conditions=progressing("ReplicaSetUpdated", 10)), 1)
    state = state_of(wanted, revision(wanted, "i", 1, 4))

    status = of_type(state, PatchStatus)[0].new.status
    assert (
        status.replicas,
        status.updated_replicas,
        status.available_replicas,
        status.unavailable_replicas,
    ) == (4, 4, 4, None)
    assert [one.reason for one in status.conditions] == ["MinimumReplicasAvailable", "NewReplicaSetAvailable"]


def test_a_rollout_that_stands_still_for_too_long_says_so() -> None:
    counts = {"replicas": 4, "updated_replicas": 4, "ready_replicas": None, "observed_generation": 1}
    wanted = marked(with_status(deployment(4), conditions=progressing("ReplicaSetUpdated", 601), **counts), 1)

    assert reason_of(state_of(wanted, revision(wanted, "i", 1, 4, available=0))) == "ProgressDeadlineExceeded"


def test_progress_starts_the_clock_anew() -> None:
    counts = {"replicas": 4, "updated_replicas": 4, "observed_generation": 1}
    wanted = marked(with_status(deployment(4), conditions=progressing("ReplicaSetUpdated", 601), **counts), 1)

    status = of_type(state_of(wanted, revision(wanted, "i", 1, 4, available=1)), PatchStatus)[0].new.status

    found = next(one for one in status.conditions if one.type == "Progressing")
    assert (found.reason, found.last_update_time, found.last_transition_time) == (
        "ReplicaSetUpdated",
        NOW,
        ago(601),
    )


def test_a_replica_set_that_cannot_be_made_shows_and_is_tried_again() -> None:
    failure = Failure(Create(revision(deployment(1), "i", 1, 1)), Forbidden("no"))
    state = state_of(deployment(1), failure=failure)

    assert reason_of(state) == "ReplicaSetCreateError"
    assert len(of_type(state, Create)) == 1


def test_one_that_is_being_deleted_only_counts() -> None:
    wanted = deployment(4)
    wanted = replace(wanted, metadata=replace(wanted.metadata, deletion_timestamp=NOW))
    state = state_of(wanted, revision(wanted, "old", 1, 2))

    assert [type(action) for action in diff(state)] == [PatchStatus]


@pytest.mark.parametrize("count", [0, 1, 4, 10])
@pytest.mark.parametrize("surge", [0, 1, "25%", "100%"])
@pytest.mark.parametrize("unavailable", [0, 1, "25%", "100%"])
def test_every_rollout_comes_to_its_end_within_its_limits(count: int, surge: Any, unavailable: Any) -> None:
    """Step by step, with pods that become available one step later, no limit is ever broken."""
    wanted = deployment(count, "new", surge=surge, unavailable=unavailable)
    old, new = revision(wanted, "old", 1, count), revision(wanted, "new", 2, 0)
    more, less = limits(wanted)
    for _ in range(200):
        found = sizes(state_of(wanted, old, new))
        if found == {"hash1": 0, "hash2": count}:
            return
        kept = min(found["hash1"], old.status.available_replicas or 0) + min(
            found["hash2"], new.status.available_replicas or 0
        )
        assert found["hash1"] + found["hash2"] <= count + more
        assert kept >= count - less
        old, new = revision(wanted, "old", 1, found["hash1"]), revision(wanted, "new", 2, found["hash2"])
    pytest.fail("the rollout stands still")


def test_time_alone_does_not_change_a_status_that_is_right() -> None:
    wanted = marked(deployment(4), 1)
    sets = (revision(wanted, "i", 1, 4),)
    settled = replace(wanted, status=of_type(state_of(wanted, *sets), PatchStatus)[0].new.status)

    later = changed(state_of(settled, *sets), now=NOW + timedelta(days=1))

    assert list(diff(later)) == []


def test_events_say_from_where_to_where() -> None:
    wanted = marked(deployment(4, "new"), 2)
    state = state_of(wanted, revision(wanted, "old", 1, 4), revision(wanted, "new", 2, 1, available=1))

    assert [one.message for one in of_type(state, Emit)] == ["Scaled down replica set web-hash1 from 4 to 2"]
