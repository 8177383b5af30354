"""Numbers of rolling updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.loop.rollout import Share, fence, proportions


@pytest.mark.parametrize(
    ("surge", "unavailable", "wanted", "result"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 3, (1, 0)),
        ("25%", "25%", 10, (3, 2)),
        (0, 0, 5, (0, 1)),
        ("0%", "10%", 5, (0, 1)),
        (2, "50%", 5, (2, 2)),
        (None, None, 5, (0, 1)),
    ],
)
def test_surge_is_rounded_up_and_unavailable_down_but_something_may_move(
    surge: int | str | None, unavailable: int | str | None, wanted: int, result: tuple[int, int]
) -> None:
    assert fence(surge, unavailable, wanted) == result


@pytest.mark.parametrize(
    ("shares", "wanted", "surge", "result"),
    [
        # Upstream's own examples, from the tests of its deployment controller.
        ([Share(10, 10)], 12, 0, [12]),
        ([Share(5, 10), Share(5, 10)], 5, 0, [2, 3]),
        ([Share(5, 11), Share(3, 11), Share(2, 11)], 20, 0, [10, 6, 4]),
        ([Share(8, 13), Share(5, 13)], 15, 3, [11, 7]),
    ],
)
def test_a_change_of_size_is_shared_in_proportion(
    shares: list[Share], wanted: int, surge: int, result: list[int]
) -> None:
    assert sum(proportions(shares, wanted, surge)) == wanted + surge
    assert all(
        abs(one - other) <= 1 for one, other in zip(proportions(shares, wanted, surge), result, strict=True)
    )


SHARES = st.lists(st.builds(Share, st.integers(1, 50), st.integers(1, 200)), min_size=1, max_size=5)


@given(SHARES, st.integers(0, 100), st.integers(0, 10))
def test_sizes_are_never_negative(shares: list[Share], wanted: int, surge: int) -> None:
    assert all(size >= 0 for size in proportions(shares, wanted, surge))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 100), st.integers(0, 10))
def test_all_of_the_change_is_given_out(sizes: list[int], wanted: int, surge: int) -> None:
    whole = sum(sizes)
    shares = [Share(size, whole) for size in sorted(sizes, reverse=True)]

    assert sum(proportions(shares, wanted, surge)) >= wanted + surge
