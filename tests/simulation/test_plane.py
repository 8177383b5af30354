"""A whole control plane among conflicts, lost watches, lost nodes and kills comes to a state of rest that is right."""

import pytest

from tests.simulation.plane.story import told
from tests.simulation.plane.virtual import simulated

# Accounts that have to be at work.
AT_WORK = {
    "cronjob-controller",
    "horizontal-pod-autoscaler",
    "node-controller",
    "pod-garbage-collector",
    "resourcequota-controller",
    "scheduler",
}
TROUBLES = {"conflict", "lost write", "lost answer", "cut", "kill"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("nodes", "pods", "seed"), [(20, 120, 4), (20, 120, 10), (50, 250, 2)])
def test_a_cluster_comes_to_rest_and_is_as_it_should_be(nodes: int, pods: int, seed: int) -> None:
    found = simulated(lambda: told(nodes, pods, seed), seed)

    assert found.problems == []
    assert found.fights == []
    assert {name for name, count in found.troubles.items() if count} == TROUBLES
    assert found.pods > pods / 4
    # Whether there is a cron job is the seed's choice.
    assert found.writers >= AT_WORK - ({"cronjob-controller"} if seed == 10 else set())


@pytest.mark.large
@pytest.mark.timeout(7200)
def test_a_thousand_nodes_and_ten_thousand_pods_do_so_too() -> None:
    found = simulated(lambda: told(1000, 10_000, 1), 1)

    assert found.problems == []
    assert found.fights == []
    assert found.pods > 5000
