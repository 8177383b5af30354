"""Two pods of a node cannot have the same host port, unless they ask for it on different addresses."""

from collections.abc import Iterable, Iterator

import numpy as np

from kybern.api.core_v1 import Pod
from kybern.scheduler.framework import Change, NodeInfo, Plugin, Refusal
from kybern.scheduler.table import ANY_ADDRESS, PodFacts, Table

REASON = "node(s) didn't have free ports for the requested pod ports"


def clashes(address: str, taken: Iterable[str]) -> bool:
    """Whether an address is taken; the one that means all clashes with every other."""
    return any(address == other or ANY_ADDRESS in (address, other) for other in taken)


def refuse(pod: Pod, info: NodeInfo) -> tuple[str, ...]:
    wanted = PodFacts.of(pod).ports
    taken = [port for other in info.pods for port in PodFacts.of(other).ports]
    for port in wanted:
        same = (one.address for one in taken if (one.protocol, one.number) == (port.protocol, port.number))
        if clashes(port.address, same):
            return (REASON,)
    return ()


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if not facts.ports:
        return
    refused = np.zeros(table.columns, np.bool_)
    for port in facts.ports:
        for column, taken in table.ports.get((port.protocol, port.number), {}).items():
            if clashes(port.address, taken):
                refused[column] = True
    yield Refusal(refused, REASON, helped=True)


WAKES = frozenset({Change.NODE_ADDED, Change.POD_GONE})
PLUGIN = Plugin("NodePorts", filter=filter_nodes, refuse=refuse, wakes=WAKES)
