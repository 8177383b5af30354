"""As many pods as asked for."""

from dataclasses import replace as changed
from typing import Any

from kybern.api.apps_v1 import ReplicaSet, ReplicaSetStatus
from kybern.api.core_v1 import Container, ContainerStatus, Pod
from kybern.controllers import replicaset as rs
from kybern.loop import replicas
from kybern.loop.controller import Again, Create, Delete, Emit, Failure, Key, Patch, PatchStatus
from kybern.loop.replicas import State, diff
from kybern.loop.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace
from tests.unit.controllers.making import NOW, ago, every, pod, replicaset, view

CONTROLLER = rs.controller(Settings())


def state_of(wanted: ReplicaSet, *pods: Pod, failure: Failure | None = None) -> State:
    found = CONTROLLER.observe(
        view(CONTROLLER, wanted, *pods, failure=failure, live=lambda _question: wanted), Key("a", "web")
    )
    assert found is not None
    return found


def of_type(state: State, kind: type) -> list[Any]:
    return [action for action in diff(state) if isinstance(action, kind)]


def test_missing_pods_are_made_with_names_of_their_own() -> None:
    made = of_type(state_of(replicaset(3)), Create)

    names = [action.object.metadata.name for action in made]
    assert len(set(names)) == 3
    assert all(name.startswith("web-") and len(name) == 9 for name in names)
    assert made[0].object.metadata.owner_references[0].uid == "uid-web"
    assert made[0].object.metadata.generate_name == "web-"


def test_each_pod_made_is_told() -> None:
    state = state_of(replicaset(2))
    names = [action.object.metadata.name for action in of_type(state, Create)]

    said = of_type(state, Emit)

    assert [(one.reason, one.message) for one in said] == [
        ("SuccessfulCreate", f"Created pod: {name}") for name in names
    ]


def test_another_round_makes_other_names() -> None:
    state = state_of(replicaset(1))
    later = changed(state, now=ago(-1))

    assert of_type(state, Create) != of_type(later, Create)


def test_at_most_a_burst_in_one_round() -> None:
    assert len(of_type(state_of(replicaset(5000)), Create)) == replicas.BURST


def test_deletes_first_what_loses_least() -> None:
    wanted = replicaset(1)
    serving, starting = (
        pod("serving", wanted, ready=True, node="n1"),
        pod("starting", wanted, ready=False, node="n1"),
    )
    unplaced = pod("unplaced", wanted)

    assert [
        action.object.metadata.name
        for action in of_type(state_of(wanted, serving, starting, unplaced), Delete)
    ] == [
        "unplaced",
        "starting",
    ]


def test_what_started_again_more_often_goes_first_and_sidecars_count_after_the_rest() -> None:
    wanted = replicaset(0)

    def restarted(name: str, often: int, sidecar: int, once: int = 0) -> Pod:
        found = pod(name, wanted, ready=True, node=name)
        starts = (Container(name="beside", restart_policy="Always"), Container(name="first"))
        told = (
            ContainerStatus(name="beside", image="", image_id="", ready=True, restart_count=sidecar),
            ContainerStatus(name="first", image="", image_id="", ready=True, restart_count=once),
        )
        main = (ContainerStatus(name="c", image="", image_id="", ready=True, restart_count=often),)
        return replace(
            found,
            spec=replace(found.spec, init_containers=starts),
            status=replace(found.status, container_statuses=main, init_container_statuses=told),
        )

    pods = (restarted("calm", 1, 0, once=9), restarted("beside", 1, 3), restarted("often", 2, 0))

    deleted = of_type(state_of(wanted, *pods), Delete)
    assert [action.object.metadata.name for action in deleted] == ["often", "beside", "calm"]


def test_crowded_nodes_lose_first() -> None:
    wanted = replicaset(2)
    pods = [pod("alone", wanted, ready=True, node="n2")]
    pods += [pod(name, wanted, ready=True, node="n1") for name in ("one", "two")]

    assert of_type(state_of(wanted, *pods), Delete)[0].object.spec.node_name == "n1"


def test_a_lower_deletion_cost_goes_first() -> None:
    wanted = replicaset(1)
    dear, cheap = pod("a", wanted, ready=True, node="n1"), pod("b", wanted, ready=True, node="n1")
    dear = replace(dear, metadata=replace(dear.metadata, annotations={replicas.COST: "10"}))

    assert of_type(state_of(wanted, dear, cheap), Delete) == [Delete(cheap)]


def test_finished_and_deleted_pods_do_not_count() -> None:
    wanted = replicaset(1)
    failed, going = pod("failed", wanted, ready=False), pod("going", wanted, ready=True)
    failed = replace(failed, status=replace(failed.status, phase="Failed"))
    going = replace(going, metadata=replace(going.metadata, deletion_timestamp=NOW))

    state = state_of(wanted, failed, going)

    assert len(of_type(state, Create)) == 1
    assert of_type(state, PatchStatus)[0].new.status.terminating_replicas == 1


def test_status_counts_pods_as_they_are() -> None:
    wanted = replicaset(2)
    state = state_of(
        wanted, pod("one", wanted, ready=True, node="n"), pod("two", wanted, ready=False, node="n")
    )

    assert of_type(state, PatchStatus)[0].new.status == ReplicaSetStatus(
        replicas=2,
        fully_labeled_replicas=2,
        ready_replicas=1,
        available_replicas=1,
        terminating_replicas=0,
        observed_generation=1,
    )


def test_nothing_to_do_is_nothing_done() -> None:
    wanted = replicaset(
        1, replicas=1, fully_labeled_replicas=1, ready_replicas=1, available_replicas=1, observed_generation=1
    )

    assert list(diff(state_of(wanted, pod("one", wanted, ready=True, node="n")))) == []


def test_availability_that_comes_with_time_is_looked_at_again() -> None:
    wanted = replicaset(1)
    wanted = replace(wanted, spec=replace(wanted.spec, min_ready_seconds=90))
    state = state_of(wanted, pod("one", wanted, ready=True, node="n"))

    assert of_type(state, PatchStatus)[0].new.status.available_replicas is None
    assert of_type(state, Again) == [Again(30.1)]


def test_orphans_that_match_are_adopted_before_anything_else() -> None:
    actions = every(diff(state_of(replicaset(3), pod("orphan"))))

    assert [type(action) for action in actions] == [Patch]
    assert actions[0].new.metadata.owner_references[0].uid == "uid-web"


def test_one_that_the_server_is_deleting_adopts_nothing() -> None:
    wanted = replicaset(3)
    going = replace(wanted, metadata=replace(wanted.metadata, deletion_timestamp=NOW))

    assert (
        CONTROLLER.observe(
            view(CONTROLLER, wanted, pod("orphan"), live=lambda _question: going), Key("a", "web")
        )
        is None
    )


def test_pods_that_do_not_match_any_more_are_let_go_and_replaced() -> None:
    wanted = replicaset(1)
    stranger = pod("stranger", wanted)
    stranger = replace(stranger, metadata=replace(stranger.metadata, labels={}))

    state = state_of(wanted, stranger)

    assert of_type(state, Patch)[0].new.metadata.owner_references == ()
    assert len(of_type(state, Create)) == 1


def test_one_that_is_being_deleted_makes_and_deletes_nothing() -> None:
    wanted = replicaset(3)
    wanted = replace(wanted, metadata=replace(wanted.metadata, deletion_timestamp=NOW))

    assert of_type(state_of(wanted), Create) == []


def test_a_refused_pod_shows_in_the_condition_and_as_an_event() -> None:
    failure = Failure(Create(pod("x")), Forbidden("exceeded quota"))
    state = state_of(replicaset(1), failure=failure)

    condition = of_type(state, PatchStatus)[0].new.status.conditions[0]
    assert (condition.type, condition.status, condition.reason, condition.message) == (
        "ReplicaFailure",
        "True",
        "FailedCreate",
        "exceeded quota",
    )
    assert of_type(state, Emit)[0] == Emit(
        state.wanted, "Warning", "FailedCreate", "Error creating: exceeded quota"
    )


def test_the_condition_goes_when_all_went_well() -> None:
    failure = Failure(Create(pod("x")), Forbidden("exceeded quota"))
    failed = of_type(state_of(replicaset(0), failure=failure), PatchStatus)[0].new

    assert of_type(state_of(failed), PatchStatus)[0].new.status.conditions == ()
