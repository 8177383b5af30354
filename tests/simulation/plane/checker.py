"""Whether a cluster at rest is as it should be; pure: objects in, sentences about what is wrong out.

Everything is worked out anew from what users asked for and from the pods and nodes that there are, with no code of the
controllers. To look at one thing more: a function in ``rules``, and its line in CHECKS.
"""

from collections.abc import Callable, Iterator

from tests.simulation.plane.rules import bounds, jobs, leftovers, nodes, services, workloads
from tests.simulation.plane.world import Outside, World

type Check = Callable[[World, Outside], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    workloads.followed,
    workloads.replicas,
    workloads.deployments,
    workloads.stateful,
    workloads.daemons,
    jobs.jobs,
    jobs.crons,
    bounds.autoscalers,
    bounds.budgets,
    bounds.quotas,
    nodes.nodes,
    nodes.placed,
    nodes.room,
    nodes.apart,
    services.addresses,
    services.endpoints,
    leftovers.left,
    leftovers.orphans,
)


def wrong(world: World, outside: Outside) -> list[str]:
    """Empty when nothing is."""
    return [text for check in CHECKS for text in check(world, outside)]
