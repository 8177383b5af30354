"""How many replicas metrics ask for."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kybern.api.core_v1 import Container, Pod, PodCondition, ResourceRequirements
from kybern.controllers.horizontal_pod_autoscaler.replicas import (
    Sample,
    Target,
    Tolerance,
    Unknown,
    by_average,
    by_share,
    by_utilization,
    by_value,
)
from kybern.machinery.struct import replace
from tests.unit.controllers.making import NOW, ago, pod

FULL = ResourceRequirements(requests={"cpu": "1", "memory": "1Gi"})


def made(
    name: str, phase: str = "Running", ready: str = "True", started: float = 3600, since: float = 3000
) -> Pod:
    found = pod(name, ready=True)
    state = PodCondition(type="Ready", status=ready, last_transition_time=ago(since))
    return replace(
        found,
        spec=replace(found.spec, containers=(Container(name="c", resources=FULL),)),
        status=replace(found.status, phase=phase, conditions=(state,), start_time=ago(started)),
    )


def case(
    uses: list[int | None], current: int = 0, **pods: dict[str, Any]
) -> tuple[Target, dict[str, Sample]]:
    """Pods p0, p1, ... that use so many thousandths of a CPU; None has no sample."""
    found = [made(f"p{number}", **pods.get(f"p{number}", {})) for number in range(len(uses))]
    samples = {f"p{number}": Sample(use, NOW) for number, use in enumerate(uses) if use is not None}
    return Target(current or len(uses), tuple(found), NOW), samples


PENDING: dict[str, Any] = {"phase": "Pending"}
UNREADY: dict[str, Any] = {"ready": "False", "started": 100, "since": 90}
NEVER: dict[str, Any] = {"ready": "False", "started": 3600, "since": 3590}
LATER: dict[str, Any] = {"ready": "False", "started": 3600, "since": 100}
FRESH: dict[str, Any] = {"started": 100, "since": 20}
FAILED: dict[str, Any] = {"phase": "Failed"}


@pytest.mark.parametrize(
    ("uses", "percent", "pods", "wanted"),
    [
        ([300, 500, 700], 30, {}, 5),
        ([300, 500, 700], 50, {}, 3),
        ([500, 500, 500], 46, {}, 3),
        ([500, 500, 500], 45, {}, 4),
        ([500, 500, 500], 55, {}, 3),
        ([500, 500, 500], 56, {}, 3),
        ([100, 300, 500, 250, 250], 50, {}, 3),
        ([100, 100, 100, 100], 50, {}, 1),
        ([0, 0, 0], 50, {}, 0),
        ([1000, 1000], 10, {}, 20),
        # One has not come up: it counts as idle while growing, and not at all while shrinking.
        ([300, 500, 700], 30, {"p0": PENDING}, 4),
        ([400, 500, 700], 30, {"p0": PENDING, "p1": PENDING}, 3),
        ([300, 500, 700], 30, {"p0": UNREADY}, 4),
        ([300, 500, 700], 30, {"p0": NEVER}, 4),
        ([300, 500, 700], 30, {"p0": LATER}, 5),
        ([300, 500, 700], 30, {"p0": FRESH}, 4),
        ([100, 100, 100], 50, {"p0": PENDING}, 1),
        ([300, 500, 700], 30, {"p0": FAILED}, 4),
        # No sample: idle while growing, at the request while shrinking.
        ([None, 500, 700], 30, {}, 4),
        ([None, 100, 100], 50, {}, 3),
        ([None, 0, 0, 0, 0], 50, {}, 2),
        ([None, 250, 350], 100, {}, 2),
        ([None, 600, 600], 50, {}, 3),
        # Filled in, it would turn round: nothing happens.
        ([None, 400, 400], 50, {}, 3),
        ([None, None, 600], 50, {}, 3),
    ],
)  # fmt: skip
def test_by_a_share_of_the_requests(
    uses: list[int | None], percent: int, pods: dict[str, Any], wanted: int
) -> None:
    target, samples = case(uses, **pods)

    assert by_utilization(target, samples, "cpu", percent).replicas == wanted


@pytest.mark.parametrize(
    ("uses", "average", "pods", "wanted", "seen"),
    [
        ([20000, 10000, 30000], 15000, {}, 4, 20000),
        ([10000, 10000], 10000, {}, 2, 10000),
        ([10900, 10900], 10000, {}, 2, 10900),
        ([11100, 11100], 10000, {}, 3, 11100),
        ([1000, 1000, 1000], 10000, {}, 1, 1000),
        ([None, 20000, 20000], 10000, {}, 4, 20000),
        ([None, 1000, 1000], 10000, {}, 2, 1000),
        ([50000, 20000, 30000], 15000, {"p0": PENDING}, 4, 25000),
        # Readiness matters for CPU alone.
        ([20000, 10000, 30000], 15000, {"p0": UNREADY}, 4, 20000),
    ],
)  # fmt: skip
def test_by_an_average(
    uses: list[int | None], average: int, pods: dict[str, Any], wanted: int, seen: int
) -> None:
    target, samples = case(uses, **pods)

    found = by_average(target, samples, average)

    assert (found.replicas, found.amount) == (wanted, seen)


@pytest.mark.parametrize(
    ("uses", "problem"),
    [
        ([], "no pods returned by selector while calculating replica count"),
        ([None], "did not receive metrics for targeted pods (pods might be unready)"),
    ],
)
def test_nothing_follows_from_nothing(uses: list[int | None], problem: str) -> None:
    target, samples = case(uses)

    with pytest.raises(Unknown) as found:
        by_utilization(target, samples, "cpu", 50)
    assert str(found.value) == problem
    with pytest.raises(Unknown) as found:
        by_average(target, samples, 10)
    assert str(found.value) == problem


def test_a_pod_that_asks_for_nothing_has_no_share() -> None:
    bare = pod("p0", ready=True)
    target = Target(1, (replace(bare, status=replace(bare.status, start_time=ago(3600))),), NOW)

    with pytest.raises(Unknown, match="missing request for cpu in container c of Pod p0"):
        by_utilization(target, {"p0": Sample(1, NOW)}, "cpu", 50)


@given(some.lists(some.integers(0, 3000), min_size=1, max_size=30), some.integers(1, 200))
def test_when_all_is_known_it_is_one_division(uses: list[int], percent: int) -> None:
    target, samples = case(list(uses))
    share = sum(uses) * 100 // (1000 * len(uses))
    ratio = share / percent

    found = by_utilization(target, samples, "cpu", percent)

    assert found.percent == share
    assert found.replicas == (len(uses) if 0.9 <= ratio <= 1.1 else math.ceil(ratio * len(uses)))


@given(
    some.lists(some.one_of(some.none(), some.integers(0, 3000)), min_size=1, max_size=20),
    some.sets(some.integers(0, 19), max_size=5),
    some.integers(1, 150),
)
def test_what_is_not_known_never_makes_a_change_larger(
    uses: list[int | None], pending: set[int], percent: int
) -> None:
    target, samples = case(uses, 0, **{f"p{number}": PENDING for number in pending})
    known = {name: one for name, one in samples.items() if int(name[1:]) not in pending}
    if not known:
        return
    share = sum(one.value for one in known.values()) * 100 // (1000 * len(known))

    replicas = by_utilization(target, samples, "cpu", percent).replicas

    if share > percent:
        assert len(uses) <= replicas <= math.ceil(share / percent * len(uses)) or replicas <= len(uses) == 0
    elif not pending:
        assert replicas <= len(uses)


@pytest.mark.parametrize(
    ("current", "pods", "value", "wanted", "replicas"),
    [
        (3, 3, 20000, 15000, 4),
        (3, 3, 15000, 15000, 3),
        (3, 3, 16000, 15000, 3),
        (3, 3, 5000, 15000, 1),
        (0, 0, 5000, 15000, 1),
        (0, 0, 0, 15000, 0),
        (0, 0, 40000, 15000, 3),
    ],
)
def test_by_a_value(current: int, pods: int, value: int, wanted: int, replicas: int) -> None:
    target, _ = case([0] * pods, current)

    assert by_value(target, value, wanted).replicas == replicas


@pytest.mark.parametrize(
    ("running", "value", "wanted", "replicas", "amount"),
    [(3, 60000, 15000, 4, 20000), (4, 60000, 15000, 4, 15000), (4, 63000, 15000, 4, 15750),
     (4, 10000, 15000, 1, 2500), (0, 60000, 15000, 4, 0), (3, 100, 15000, 1, 34)],
)  # fmt: skip
def test_by_a_share(running: int, value: int, wanted: int, replicas: int, amount: int) -> None:
    found = by_share(case([])[0], running, value, wanted)

    assert (found.replicas, found.amount) == (replicas, amount)


def test_each_direction_has_its_own_tolerance() -> None:
    target, samples = case([600, 600])
    wide = replace_target(target, Tolerance(down=0.0, up=0.5))

    assert by_utilization(target, samples, "cpu", 50).replicas == 3
    assert by_utilization(wide, samples, "cpu", 50).replicas == 2
    assert by_utilization(wide, samples, "cpu", 61).replicas == 2
    assert by_utilization(wide, samples, "cpu", 130).replicas == 1


def replace_target(target: Target, tolerance: Tolerance) -> Target:
    return Target(target.replicas, target.pods, target.now, tolerance)
