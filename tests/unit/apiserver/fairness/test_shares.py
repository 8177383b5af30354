"""Seats by shares, and how they are lent. The figures of the first test are those of upstream's documentation."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.flowcontrol_v1 import PriorityLevelConfiguration
from kybern.apiserver import bootstrap
from kybern.apiserver.fairness.shares import Bounds, Demand, bounds, lent, smoothed

DEFAULTS = [
    msgspec.convert(one.object, PriorityLevelConfiguration)
    for one in bootstrap.wanted()
    if one.plural == "prioritylevelconfigurations"
]


def test_the_levels_that_each_cluster_has() -> None:
    found = bounds(DEFAULTS, 600)
    assert {name: (one.nominal, one.least, one.most) for name, one in found.items()} == {
        "catch-all": (13, 13, 600),
        "exempt": (0, 0, 600),
        "global-default": (49, 24, 600),
        "leader-election": (25, 25, 600),
        "node-high": (98, 73, 600),
        "system": (74, 50, 600),
        "workload-high": (98, 49, 600),
        "workload-low": (245, 24, 600),
    }


def level(name: str, **limited: int) -> PriorityLevelConfiguration:
    raw = {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}
    return msgspec.convert(raw, PriorityLevelConfiguration)


def test_borrowing_has_a_limit_where_one_is_given() -> None:
    one = level("a", nominalConcurrencyShares=10, borrowingLimitPercent=50, lendablePercent=20)
    assert bounds([one, level("b", nominalConcurrencyShares=10)], 20) == {
        "a": Bounds(10, 8, 15),
        "b": Bounds(10, 10, 20),
    }


def test_no_shares_are_no_seats() -> None:
    assert bounds([level("a", nominalConcurrencyShares=0), level("b")], 20)["a"] == Bounds(0, 0, 20)


@pytest.mark.parametrize(
    ("before", "now", "likely"),
    [
        (0.0, Demand(4.0, 1.0, 9), 5.0),
        (0.0, Demand(4.0, 3.0, 5), 5.0),
        (10.0, Demand(0.0, 0.0, 0), 9.77),
        (10.0, Demand(20.0, 5.0, 40), 25.0),
    ],
)
def test_what_is_likely_rises_at_once_and_falls_slowly(before: float, now: Demand, likely: float) -> None:
    assert smoothed(before, now) == pytest.approx(likely)


BUSY, IDLE = Demand(60.0, 0.0, 60), Demand(0.0, 0.0, 0)


def test_a_busy_level_borrows_what_an_idle_one_lends() -> None:
    levels = {"busy": Bounds(20, 10, 100), "idle": Bounds(80, 30, 100)}
    found = lent(100, levels, {"busy": BUSY, "idle": IDLE}, {"busy": 60.0, "idle": 0.0})
    assert found == {"busy": 67, "idle": 33}


def test_nobody_loses_what_he_uses_of_his_own() -> None:
    levels = {"busy": Bounds(20, 10, 100), "other": Bounds(80, 30, 100)}
    demands = {"busy": Demand(500.0, 0.0, 500), "other": Demand(70.0, 0.0, 70)}
    found = lent(100, levels, demands, {"busy": 500.0, "other": 70.0})
    assert found == {"busy": 30, "other": 70}


def test_where_too_much_is_kept_nothing_is_lent() -> None:
    levels = {"a": Bounds(60, 60, 100), "b": Bounds(60, 60, 100)}
    assert lent(100, levels, {"a": BUSY, "b": BUSY}, {"a": 60.0, "b": 60.0}) == {"a": 60, "b": 60}


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 100), st.floats(0, 500), st.integers(0, 500)),
        min_size=1,
        max_size=8,
    )
)
def test_all_stay_within_their_bounds_and_the_whole_is_used(
    drawn: list[tuple[int, int, float, int]],
) -> None:
    levels = {str(at): Bounds(own, own * 50 // 100, own + more) for at, (own, more, _, _) in enumerate(drawn)}
    total = sum(one.nominal for one in levels.values())
    demands = {str(at): Demand(float(most), 0.0, most) for at, (_, _, _, most) in enumerate(drawn)}
    found = lent(total, levels, demands, {str(at): likely for at, (_, _, likely, _) in enumerate(drawn)})
    for name, one in levels.items():
        assert min(one.least, one.nominal) <= found[name] <= one.most
    # Each is rounded by itself.
    assert sum(found.values()) <= total + len(found) / 2 + 0.01
    if all(one.most >= total for one in levels.values()):
        assert sum(found.values()) >= total - len(found) / 2 - 0.01
