"""How many replicas are allowed at once: stabilisation, rates, bounds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kybern.api.autoscaling_v2 import HorizontalPodAutoscalerBehavior, HPAScalingPolicy, HPAScalingRules
from kybern.controllers.horizontal_pod_autoscaler.behaviour import Asked, Moment, allowed
from tests.unit.controllers.making import NOW


def moments(*found: tuple[float, int]) -> tuple[Moment, ...]:
    return tuple(Moment(NOW - timedelta(seconds=seconds), count) for seconds, count in found)


@pytest.mark.parametrize(
    ("current", "desired", "recommended", "wanted", "able", "limit"),
    [
        (3, 3, [], 3, "ReadyForNewScale", "DesiredWithinRange"),
        (3, 5, [], 5, "ReadyForNewScale", "DesiredWithinRange"),
        (3, 9, [], 6, "ReadyForNewScale", "ScaleUpLimit"),
        (1, 9, [], 4, "ReadyForNewScale", "ScaleUpLimit"),
        (6, 20, [], 10, "ReadyForNewScale", "TooManyReplicas"),
        (6, 1, [], 2, "ReadyForNewScale", "TooFewReplicas"),
        (6, 3, [(100, 5)], 5, "ScaleDownStabilized", "DesiredWithinRange"),
        (6, 3, [(301, 5)], 3, "ReadyForNewScale", "DesiredWithinRange"),
        (6, 3, [(100, 2)], 3, "ReadyForNewScale", "DesiredWithinRange"),
    ],
)  # fmt: skip
def test_without_a_behaviour(
    current: int, desired: int, recommended: list[tuple[float, int]], wanted: int, able: str, limit: str
) -> None:
    found = allowed(Asked(current, desired, 2, 10, NOW, moments(*recommended)), None)

    assert (found.replicas, found.able, found.limit) == (wanted, able, limit)
    assert found.limited == (limit != "DesiredWithinRange")


def rules(*policies: tuple[str, int, int], pick: str = "Max", window: int | None = 0) -> HPAScalingRules:
    found = tuple(
        HPAScalingPolicy(type=kind, value=value, period_seconds=period) for kind, value, period in policies
    )
    return HPAScalingRules(policies=found, select_policy=pick, stabilization_window_seconds=window)


UP = rules(("Pods", 4, 15), ("Percent", 100, 15))
DOWN = rules(("Percent", 100, 15), window=None)


@pytest.mark.parametrize(
    ("current", "desired", "up", "down", "recommended", "changes", "wanted", "limit"),
    [
        (3, 20, UP, DOWN, [], [], 7, "ScaleUpLimit"),
        (10, 90, UP, DOWN, [], [], 20, "ScaleUpLimit"),
        (10, 90, rules(("Pods", 4, 15), ("Percent", 100, 15), pick="Min"), DOWN, [], [], 14, "ScaleUpLimit"),
        (10, 90, rules(("Pods", 4, 60), pick="Disabled"), DOWN, [], [], 10, "ScaleUpLimit"),
        (60, 150, UP, DOWN, [], [], 100, "TooManyReplicas"),
        # What was added in the period counts; what was taken away, too.
        (10, 90, rules(("Pods", 4, 60)), DOWN, [], [(30, 3)], 11, "ScaleUpLimit"),
        (10, 90, rules(("Pods", 4, 60)), DOWN, [], [(70, 3)], 14, "ScaleUpLimit"),
        (10, 90, rules(("Pods", 4, 60)), DOWN, [], [(30, 9)], 10, "ScaleUpLimit"),
        (10, 90, rules(("Pods", 4, 60)), DOWN, [], [(30, -2)], 16, "ScaleUpLimit"),
        (3, 90, rules(("Percent", 10, 60)), DOWN, [], [], 4, "ScaleUpLimit"),
        (10, 2, UP, DOWN, [], [], 2, "DesiredWithinRange"),
        (10, 0, UP, DOWN, [], [], 1, "TooFewReplicas"),
        (10, 2, UP, rules(("Pods", 3, 60)), [], [], 7, "ScaleDownLimit"),
        (10, 2, UP, rules(("Pods", 3, 60)), [], [(30, -2)], 9, "ScaleDownLimit"),
        (10, 2, UP, rules(("Pods", 3, 60)), [], [(30, -5)], 10, "ScaleDownLimit"),
        (10, 2, UP, rules(("Pods", 3, 60), ("Percent", 50, 60)), [], [], 5, "ScaleDownLimit"),
        (10, 2, UP, rules(("Pods", 3, 60), ("Percent", 50, 60), pick="Min"), [], [], 7, "ScaleDownLimit"),
        (10, 2, UP, rules(("Percent", 10, 60)), [], [], 9, "ScaleDownLimit"),
        (10, 2, UP, rules(pick="Disabled"), [], [], 10, "ScaleDownLimit"),
        # Stabilisation: the highest of the window when shrinking, the lowest when growing.
        (10, 2, UP, DOWN, [(200, 8)], [], 8, "DesiredWithinRange"),
        (10, 2, UP, DOWN, [(200, 30)], [], 10, "DesiredWithinRange"),
        (10, 2, UP, DOWN, [(400, 8)], [], 2, "DesiredWithinRange"),
        (10, 14, rules(("Pods", 9, 15), window=60), DOWN, [(30, 12)], [], 12, "DesiredWithinRange"),
        (10, 14, rules(("Pods", 9, 15), window=60), DOWN, [(30, 2)], [], 10, "DesiredWithinRange"),
        (10, 14, rules(("Pods", 9, 15), window=60), DOWN, [(90, 2)], [], 14, "DesiredWithinRange"),
    ],
)  # fmt: skip
def test_with_a_behaviour(  # noqa: PLR0917  # a row of the table
    current: int, desired: int, up: HPAScalingRules, down: HPAScalingRules,
    recommended: list[tuple[float, int]], changes: list[tuple[float, int]], wanted: int, limit: str,
) -> None:  # fmt: skip
    asked = Asked(current, desired, 1, 100, NOW, moments(*recommended), moments(*changes))

    found = allowed(asked, HorizontalPodAutoscalerBehavior(scale_up=up, scale_down=down))

    assert (found.replicas, found.limit) == (wanted, limit)


@given(some.integers(1, 100), some.integers(0, 300), some.lists(some.integers(0, 300), max_size=5))
def test_bounds_are_kept_and_no_change_turns_round(current: int, desired: int, before: list[int]) -> None:
    asked = Asked(current, desired, 1, 100, NOW, moments(*((60.0, count) for count in before)))
    for behaviour in (None, HorizontalPodAutoscalerBehavior(scale_up=UP, scale_down=DOWN)):
        replicas = allowed(asked, behaviour).replicas
        assert 1 <= replicas <= 100
        if behaviour is not None:
            assert min(current, desired) <= replicas <= max(current, desired) or desired < 1
