"""How many pods may be disrupted."""

from typing import Any

import pytest

from kybern.api.autoscaling_v1 import Scale, ScaleSpec
from kybern.api.core_v1 import Pod, PodCondition
from kybern.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from kybern.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus
from kybern.controllers import disruption
from kybern.controllers.disruption import diff, status
from kybern.loop.controller import Again, Emit, Key, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import (
    LABELS,
    NOW,
    ago,
    deployment,
    every,
    only,
    pod,
    replicaset,
    revision,
    view,
)

CONTROLLER = disruption.controller(Settings())


def budget(selector: LabelSelector | None = None, **spec: Any) -> PodDisruptionBudget:
    return PodDisruptionBudget(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-budget", generation=1),
        spec=PodDisruptionBudgetSpec(selector=selector or LabelSelector(match_labels=LABELS), **spec),
    )


def actions(*objects: Object, name: str = "web", live: Any = None) -> list[Any]:
    seen = CONTROLLER.observe(view(CONTROLLER, *objects, live=live), Key("a", name))
    assert seen is not None
    return every(diff(seen))


def found(*objects: Object, live: Any = None) -> PodDisruptionBudgetStatus:
    (written,) = only(actions(*objects, live=live), PatchStatus)
    result: PodDisruptionBudgetStatus = written.new.status
    return result


def numbers(seen: PodDisruptionBudgetStatus) -> tuple[int | None, ...]:
    return seen.expected_pods, seen.desired_healthy, seen.current_healthy, seen.disruptions_allowed


def web(count: int, ready: int, size: int | None = None) -> tuple[Object, ...]:
    owner = replicaset(count if size is None else size)
    return (owner, *(pod(f"p{i}", owner, ready=i < ready, node="n") for i in range(count)))


@pytest.mark.parametrize(
    ("spec", "ready", "expected"),
    [
        ({"min_available": 2}, 3, (3, 2, 3, 1)),
        ({"min_available": 4}, 3, (3, 4, 3, 0)),
        ({"min_available": "50%"}, 3, (3, 2, 3, 1)),
        ({"min_available": "0%"}, 3, (3, 0, 3, 3)),
        ({"max_unavailable": 1}, 3, (3, 2, 3, 1)),
        ({"max_unavailable": 5}, 3, (3, 0, 3, 3)),
        ({"max_unavailable": "40%"}, 2, (3, 1, 2, 1)),
        ({"max_unavailable": 0}, 3, (3, 3, 3, 0)),
        ({}, 3, (3, 0, 3, 3)),
    ],
)
def test_numbers(spec: dict[str, Any], ready: int, expected: tuple[int, ...]) -> None:
    assert numbers(found(budget(**spec), *web(3, ready))) == expected


def test_a_share_is_of_what_owners_ask_for() -> None:
    assert numbers(found(budget(min_available="50%"), *web(2, 2, size=10))) == (10, 5, 2, 0)


def test_a_replica_set_s_deployment_says_how_many() -> None:
    above = deployment(8)
    middle = revision(above, "i", 1, 2)

    seen = found(budget(max_unavailable=1), above, middle, pod("p", middle, ready=True, node="n"))

    assert numbers(seen) == (8, 7, 1, 0)


def owned_by_custom() -> Pod:
    owner = OwnerReference(
        api_version="x.test/v1", kind="Fleet", name="fleet", uid="uid-fleet", controller=True
    )
    one = pod("p", ready=True, node="n")
    return replace(one, metadata=replace(one.metadata, owner_references=(owner,)))


def test_an_owner_of_another_kind_is_asked_for_its_scale() -> None:
    asked: list[Any] = []

    def live(question: tuple[Any, ...]) -> Scale:
        asked.append(question)
        return Scale(metadata=ObjectMeta(uid="uid-fleet"), spec=ScaleSpec(replicas=4))

    assert numbers(found(budget(max_unavailable=1), owned_by_custom(), live=live)) == (4, 3, 1, 0)
    assert asked == [("x.test/v1", "Fleet", "a", "fleet")]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, 'found no controllers for pod "p"'),
        (Scale(metadata=ObjectMeta(uid="another")), 'found no controllers for pod "p"'),
        ("fleets.x.test does not implement the scale subresource",) * 2,
    ],
)
def test_what_cannot_be_told_allows_nothing(answer: Any, problem: str) -> None:
    before = replace(budget(max_unavailable=1), status=PodDisruptionBudgetStatus(disruptions_allowed=3))
    seen = actions(before, owned_by_custom(), live=lambda _question: answer)

    said, written = seen
    condition = written.new.status.conditions[0]
    assert said == Emit(
        before,
        "Warning",
        "CalculateExpectedPodCountFailed",
        f"Failed to calculate the number of expected pods: {problem}",
    )
    assert written.new.status.disruptions_allowed == 0
    assert (condition.status, condition.reason, condition.message) == ("False", "SyncFailed", problem)
    assert actions(written.new, owned_by_custom(), live=lambda _question: answer) == []


def test_a_budget_without_pods_allows_nothing_and_says_so_once() -> None:
    first = budget(min_available=0)
    said, written = actions(first)

    assert said == Emit(first, "Normal", "NoPods", "No matching pods found")
    assert numbers(written.new.status) == (0, 0, 0, 0)
    assert actions(written.new) == []


def test_pods_that_nobody_controls_are_told() -> None:
    selector = LabelSelector(match_labels=LABELS)
    seen = actions(budget(selector, max_unavailable=1), pod("p", ready=True, node="n"))

    (said,) = only(seen, Emit)
    assert (said.type, said.reason) == ("Warning", "UnmanagedPods")
    assert "(selector: &LabelSelector{MatchLabels:map[string]string{app: web,}," in said.message


def test_the_condition_says_whether_something_is_allowed() -> None:
    seen = found(budget(min_available=1), *web(2, 2))
    again = found(replace(budget(min_available=2), status=seen), *web(2, 2))

    assert [
        (one.status, one.reason, one.last_transition_time) for one in (*seen.conditions, *again.conditions)
    ] == [
        ("True", "SufficientPods", NOW),
        ("False", "InsufficientPods", NOW),
    ]


def test_a_pod_that_was_granted_an_eviction_does_not_count_for_two_minutes() -> None:
    noted = PodDisruptionBudgetStatus(disrupted_pods={"p0": ago(60), "gone": ago(10)})
    seen = actions(replace(budget(min_available=1), status=noted), *web(3, 3))

    assert numbers(only(seen, PatchStatus)[0].new.status) == (3, 1, 2, 1)
    assert only(seen, PatchStatus)[0].new.status.disrupted_pods == {"p0": ago(60)}
    assert only(seen, Again) == [Again(60.05)]


def test_a_pod_that_was_not_deleted_after_all_counts_again() -> None:
    noted = PodDisruptionBudgetStatus(disrupted_pods={"p0": ago(121)})
    seen = actions(replace(budget(min_available=1), status=noted), *web(3, 3))

    assert numbers(only(seen, PatchStatus)[0].new.status) == (3, 1, 3, 2)
    assert [(one.about.metadata.name, one.reason) for one in only(seen, Emit)] == [("p0", "NotDeleted")]


def test_no_selector_selects_nothing_and_an_empty_one_all() -> None:
    nothing = replace(budget(min_available=0), spec=PodDisruptionBudgetSpec(min_available=0))

    assert found(nothing, *web(3, 3)).expected_pods == 0
    assert found(budget(LabelSelector(), min_available=0), *web(3, 3)).expected_pods == 3


def targeted(since: float, reason: str = "PreemptionByScheduler") -> Pod:
    mark = PodCondition(
        type="DisruptionTarget", status="True", reason=reason, last_transition_time=ago(since)
    )
    one = pod("p", ready=True, node="n")
    return replace(one, status=replace(one.status, conditions=(*one.status.conditions, mark)))


def test_a_mark_that_came_to_nothing_is_taken_back() -> None:
    early = actions(targeted(30), name="pod/p")
    (written,) = actions(targeted(121), name="pod/p")

    assert early == [Again(90.05)]
    assert written.new.status.conditions[1] == PodCondition(
        type="DisruptionTarget", status="False", last_transition_time=NOW
    )


def test_a_kubelet_s_own_mark_stays() -> None:
    assert actions(targeted(500, "TerminationByKubelet"), name="pod/p") == []


def test_pods_wake_the_budgets_that_select_them() -> None:
    seen = view(CONTROLLER, budget(), replace(budget(), metadata=ObjectMeta(name="else", namespace="b")))

    assert list(disruption.budgets_of(targeted(1), seen)) == [Key("a", "web"), Key("a", "pod/p")]
    assert list(disruption.beside(replicaset(1), seen)) == [Key("a", "web")]


def test_selectors_are_shown_as_go_shows_them() -> None:
    assert status.shown(None) == "nil"
    assert status.shown(LabelSelector()) == (
        "&LabelSelector{MatchLabels:map[string]string{},MatchExpressions:[]LabelSelectorRequirement{},}"
    )
