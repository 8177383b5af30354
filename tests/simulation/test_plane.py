"""A whole control plane among conflicts, lost watches, lost nodes and kills comes to a state of rest that is right."""

import pytest

from tests.simulation.plane.story import told
from tests.simulation.plane.virtual import simulated

TROUBLES = {"conflict", "lost write", "lost answer", "cut", "kill"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("nodes", "pods", "seed"), [(20, 120, 1), (20, 120, 2), (50, 250, 3)])
def test_a_cluster_comes_to_rest_and_is_as_it_should_be(nodes: int, pods: int, seed: int) -> None:
    found = simulated(lambda: told(nodes, pods, seed))

    assert found.problems == []
    assert found.fights == []
    assert {name for name, count in found.troubles.items() if count} == TROUBLES
    assert found.pods > pods / 4


@pytest.mark.large
@pytest.mark.timeout(7200)
def test_a_thousand_nodes_and_ten_thousand_pods_do_so_too() -> None:
    found = simulated(lambda: told(1000, 10_000, 1))

    assert found.problems == []
    assert found.fights == []
    assert found.pods > 5000
