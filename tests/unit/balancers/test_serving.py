"""When a node leads to pods, by what its kube-proxy said."""

import pytest

from kybern.balancers.serving import GRACE, Serving, always


@pytest.mark.parametrize(
    ("well", "now", "serves"),
    [
        (None, 1000.0, False),  # just booted: nothing was heard yet
        (1000.0, 1000.0, True),
        (1000.0, 1000.0 + GRACE - 1, True),  # kube-proxy starts anew; its rules are where they were
        (1000.0, 1000.0 + GRACE, False),
    ],
)
def test_a_node_serves_after_its_kube_proxy_was_well(well: float | None, now: float, serves: bool) -> None:
    assert Serving(well).holds(now) is serves


def test_where_nobody_is_asked_it_always_serves() -> None:
    assert always(0.0)
