"""A kubelet's text in, points out; two of them in, what is used out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.metrics.readings import Point, Reading, Unreadable, read
from kybern.metrics.usage import FRESH, between, of_pods

TEXT = """\
# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="web",namespace="shop",pod="web-1"} 12.5 1700000001500
container_cpu_usage_seconds_total{container="side",namespace="shop",pod="web-1"} 1 1700000001000
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="web",namespace="shop",pod="web-1"} 2.5165824e+07 1700000001500
container_memory_working_set_bytes{container="side",namespace="shop",pod="web-1"} 1024 1700000001000
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="web",namespace="shop",pod="web-1"} 1.6999999e+09
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 400 1700000002000
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1e+09 1700000002000
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web-1"} 13.5 1700000001500
# TYPE resource_scrape_error gauge
resource_scrape_error 0
"""


def test_a_kubelet_is_understood() -> None:
    found = read(TEXT, 5.0)

    assert found.node == Point(1700000002.0, 400.0, 1_000_000_000)
    assert found.pods == {
        ("shop", "web-1"): {
            "web": Point(1700000001.5, 12.5, 25165824, 1699999900.0),
            "side": Point(1700000001.0, 1.0, 1024),
        }
    }


def test_what_bears_no_time_was_measured_now() -> None:
    assert read("node_cpu_usage_seconds_total 3\n", 5.0).node == Point(5.0, 3.0)


@pytest.mark.parametrize(
    "text", ["node_cpu_usage_seconds_total x\n", 'container_start_time_seconds{pod="a"} 1\n']
)
def test_nonsense_is_named(text: str) -> None:
    with pytest.raises(Unreadable, match="not a kubelet's metrics"):
        read(text, 5.0)


def test_an_empty_answer_tells_nothing() -> None:
    assert read("", 5.0) == Reading(Point(5.0))


def test_a_rate_is_the_difference_over_the_time_between() -> None:
    found = between(Point(100.0, 10.0, 5), Point(115.0, 13.0, 7))

    assert found is not None
    assert (found.at, found.window, found.cpu, found.memory) == (115.0, 15.0, 0.2, 7)


def test_a_new_container_is_measured_from_its_start() -> None:
    found = between(None, Point(115.0, 2.0, 7, started=115.0 - FRESH))

    assert found is not None
    assert (found.window, found.cpu) == (FRESH, 2.0 / FRESH)


def test_a_container_that_started_again_forgets_its_earlier_run() -> None:
    found = between(Point(100.0, 50.0, 7, started=1.0), Point(115.0, 3.0, 7, started=103.0))

    assert found is not None
    assert (found.window, found.cpu) == (12.0, 0.25)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, Point(115.0, 2.0, 7)),
        (None, Point(115.0, 2.0, 7, started=114.0)),
        (Point(100.0, 3.0, 7), Point(115.0, 2.0, 7)),
        (Point(115.0, 2.0, 7), Point(115.0, 2.0, 7)),
        (Point(100.0, None, 7), Point(115.0, 2.0, 7)),
        (Point(100.0, 1.0, 7), Point(115.0, None, 7)),
        (Point(100.0, 1.0, 7), Point(115.0, 2.0, None)),
    ],
    ids=["first", "too young", "backwards", "no time", "no rate before", "no rate now", "no memory"],
)
def test_there_is_no_rate(before: Point | None, after: Point) -> None:
    assert between(before, after) is None


def test_a_pod_is_told_when_all_of_its_containers_are() -> None:
    before = Reading(Point(0.0), {("a", "p"): {"one": Point(0.0, 1.0, 1)}})
    both = {"one": Point(10.0, 2.0, 1), "two": Point(10.0, 1.0, 1, started=9.0)}

    assert of_pods(before, Reading(Point(10.0), {("a", "p"): both})) == {}
    del both["two"]
    assert list(of_pods(before, Reading(Point(10.0), {("a", "p"): both}))) == [("a", "p")]
    assert of_pods(None, Reading(Point(10.0), {("a", "p"): {}})) == {}


@given(
    st.floats(0, 1e6),
    st.floats(0.001, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 2e6),
)
def test_no_rate_is_negative_and_no_window_empty(
    at: float, gap: float, cpu: float, later: float, started: float | None
) -> None:
    found = between(Point(at, cpu, 1), Point(at + gap, later, 1, started=started))

    assert found is None or (found.cpu >= 0 and found.window > 0)
