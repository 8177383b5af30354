"""What a budget says to an eviction, as upstream's cases have it (eviction_test.go)."""

from typing import Any

import pytest

from kybern.apiserver.subresources import budget
from kybern.apiserver.subresources.eviction import marked
from kybern.machinery.errors import ApiError, Forbidden, TooManyRequests

READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
UNREADY = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}


def made(policy: str = "", **status: Any) -> dict[str, Any]:
    spec = {"unhealthyPodEvictionPolicy": policy} if policy else {}
    return {
        "metadata": {"name": "foo", "generation": 1},
        "spec": spec,
        "status": {"observedGeneration": 1, **status},
    }


def said(problem: ApiError) -> str:
    assert problem.details is not None
    (cause,) = problem.details.causes
    assert cause.reason == "DisruptionBudget"
    return cause.message


def condition(reason: str, message: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": message}]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            made(currentHealthy=3, desiredHealthy=3),
            "The disruption budget foo needs 3 healthy pods and has 3 currently",
        ),
        (
            made(conditions=condition("SyncFailed", "hoge")),
            "The disruption budget foo does not allow evicting pods currently because it failed sync: hoge",
        ),
        (
            made(currentHealthy=4, desiredHealthy=3, conditions=condition("bar-reason", "hoge")),
            "The disruption budget foo does not allow evicting pods currently (bar-reason): hoge",
        ),
        (
            made(currentHealthy=4, desiredHealthy=3, conditions=condition("bar-reason", "")),
            "The disruption budget foo does not allow evicting pods currently",
        ),
        (made(observedGeneration=0), "The disruption budget foo is still being processed by the server."),
    ],
)
def test_a_budget_that_allows_nothing_says_why(found: dict[str, Any], text: str) -> None:
    with pytest.raises(TooManyRequests) as refused:
        budget.check(found)

    assert refused.value.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert said(refused.value) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"disruptionsAllowed": -1}, "pdb disruptions allowed is negative"),
        (
            {"disruptionsAllowed": 1, "disruptedPods": dict.fromkeys(map(str, range(2001)))},
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ),
    ],
)
def test_a_status_that_cannot_be_is_refused(status: dict[str, Any], text: str) -> None:
    with pytest.raises(Forbidden, match=text):
        budget.check(made(**status))


def test_one_that_allows_something_is_no_obstacle() -> None:
    budget.check(made(disruptionsAllowed=1))


@pytest.mark.parametrize(
    ("policy", "pod", "healthy", "spared"),
    [
        ("", READY, 3, False),
        ("", UNREADY, 3, True),
        ("", UNREADY, 2, False),
        ("IfHealthyBudget", UNREADY, 2, False),
        ("AlwaysAllow", UNREADY, 2, True),
        ("AlwaysAllow", READY, 3, False),
    ],
)
def test_what_is_not_ready_may_go_when_that_costs_nothing(
    policy: str, pod: dict[str, Any], healthy: int, spared: bool
) -> None:
    assert budget.spares(made(policy, currentHealthy=healthy, desiredHealthy=3), pod) is spared


def test_nothing_is_spared_by_a_budget_that_nobody_has_counted() -> None:
    assert not budget.spares(made(), UNREADY)


def test_the_mark_keeps_its_time_and_takes_the_place_of_an_older_one() -> None:
    other = {"type": "Ready", "status": "True"}
    before = {"type": "DisruptionTarget", "status": "True", "reason": "x", "lastTransitionTime": "then"}

    assert [one["lastTransitionTime"] for one in marked([before], "now")] == ["then"]
    assert marked([{**before, "status": "False"}, other], "now")[0]["lastTransitionTime"] == "now"
    assert marked([other], "now")[1]["reason"] == "EvictionByEvictionAPI"
