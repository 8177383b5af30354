"""What a pod asks for: containers, sidecars and init containers, the pod itself, overhead, and resizes in place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import (
    Container,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    ResourceRequirements,
)
from kybern.scheduler.requests import USUAL_CPU, USUAL_MEMORY, of_pod, reported, usual


def box(name: str, cpu: int = 0, always: bool = False) -> Container:
    requests = {"cpu": f"{cpu}m"} if cpu else {}
    return Container(
        name=name,
        resources=ResourceRequirements(requests=requests),
        restart_policy="Always" if always else "",
    )


def pod(*containers: Container, init: tuple[Container, ...] = (), **more: Any) -> Pod:
    status = more.pop("status", PodStatus())
    return Pod(spec=PodSpec(containers=containers, init_containers=init, **more), status=status)


def cpu(one: Pod) -> int:
    return of_pod(one).get("cpu", 0)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ((), 300),
        ((box("a", 200),), 300),
        ((box("a", 500), box("b", 400)), 500),
        ((box("s", 100, always=True),), 400),
        ((box("s", 100, always=True), box("a", 500)), 600),
        ((box("a", 500), box("s", 100, always=True)), 500),
        ((box("s", 100, always=True), box("t", 200, always=True), box("a", 500)), 800),
        ((box("s", 100, always=True), box("a", 50), box("t", 200, always=True)), 600),
    ],
)
def test_an_init_container_counts_beside_the_sidecars_before_it(
    init: tuple[Container, ...], expected: int
) -> None:
    assert cpu(pod(box("c", 100), box("d", 200), init=init)) == expected


def test_overhead_comes_on_top() -> None:
    assert cpu(pod(box("c", 100), overhead={"cpu": "50m"})) == 150
    assert cpu(pod(box("c", 100), overhead={"cpu": "50m"}, resources=whole(cpu="1"))) == 1050


def whole(**requests: str) -> ResourceRequirements:
    return ResourceRequirements(requests=requests)


def test_what_the_pod_asks_for_as_a_whole_wins() -> None:
    found = of_pod(pod(box("c", 100), resources=whole(cpu="1", **{"example.com/gpu": "2"})))

    assert found["cpu"] == 1000
    assert "example.com/gpu" not in found, "only CPU, memory and huge pages may be told so"
    assert of_pod(pod(box("c", 100), resources=whole(memory="1Gi"))) == {
        "cpu": 100, "memory": 2**30, "pods": 1,
    }  # fmt: skip


def test_a_container_without_requests_counts_as_usual_in_scores_only() -> None:
    assert usual(pod(box("c", 300), box("d"))) == (300 + USUAL_CPU, 2 * USUAL_MEMORY)
    assert cpu(pod(box("d"))) == 0


def test_of_a_pod_with_requests_of_its_own_only_what_is_missing_is_usual() -> None:
    assert usual(pod(box("c"), box("d"), resources=whole(cpu="1"))) == (1000, 2 * USUAL_MEMORY)
    assert usual(pod(box("c"), resources=whole(cpu="1", memory="1Gi"))) == (1000, 2**30)


def resizing(wanted: int, granted: int, in_force: int, infeasible: bool = False) -> Pod:
    one = ContainerStatus(
        name="c", allocated_resources={"cpu": f"{granted}m"}, resources=whole(cpu=f"{in_force}m")
    )
    said = (PodCondition(type="PodResizePending", reason="Infeasible", status="True"),) if infeasible else ()
    return pod(box("c", wanted), status=PodStatus(container_statuses=(one,), conditions=said))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (resizing(100, 100, 100), 100),
        (resizing(500, 100, 100), 500),
        (resizing(100, 500, 100), 500),
        (resizing(100, 100, 500), 500),
        (resizing(900, 100, 200, infeasible=True), 200),
    ],
    ids=["settled", "grows", "was granted", "still has", "never will"],
)
def test_a_resized_pod_counts_with_the_most_of_what_it_wants_and_has(one: Pod, expected: int) -> None:
    assert cpu(one) == expected


def test_a_sidecar_is_resized_too() -> None:
    status = ContainerStatus(name="s", allocated_resources={"cpu": "700m"})
    found = pod(
        box("c", 100),
        init=(box("s", 100, always=True),),
        status=PodStatus(init_container_statuses=(status,)),
    )

    assert cpu(found) == 800


def test_a_pod_is_resized_as_a_whole_without_counting_overhead_twice() -> None:
    status = PodStatus(resources=whole(cpu="550m"), allocated_resources={"cpu": "2050m"})
    found = pod(box("c"), resources=whole(cpu="1"), overhead={"cpu": "50m"}, status=status)

    assert cpu(found) == 2050


def test_reports_that_change_no_sum_are_the_same() -> None:
    before = resizing(100, 100, 100)
    running = ContainerStatus(
        name="c", allocated_resources={"cpu": "100m"}, resources=whole(cpu="100m"), restart_count=3
    )

    assert reported(before) == reported(pod(box("c", 100), status=PodStatus(container_statuses=(running,))))
    assert reported(before) != reported(resizing(100, 200, 100))
    assert reported(before) != reported(resizing(100, 100, 100, infeasible=True))


BOXES = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), BOXES)
def test_the_sum_is_the_highest_that_is_ever_in_use(apps: list[int], init: list[tuple[int, bool]]) -> None:
    """Start the pod, step by step, and see how much runs at once."""
    running, highest = 0, 0
    for number, always in init:
        highest = max(highest, running + number)
        running += number if always else 0
    highest = max(highest, running + sum(apps))

    made = pod(
        *(box(f"c{at}", number) for at, number in enumerate(apps)),
        init=tuple(box(f"i{at}", number, always) for at, (number, always) in enumerate(init)),
    )

    assert cpu(made) == highest
