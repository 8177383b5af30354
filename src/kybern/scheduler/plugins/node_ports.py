"""Two pods of a node cannot have the same host port, unless they ask for it on different addresses."""

from collections.abc import Iterable, Iterator

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.facts import ANY_ADDRESS, HostPort, PodFacts, host_ports
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin, Refusal
from kybern.scheduler.table import Table

REASON = "node(s) didn't have free ports for the requested pod ports"


def clashes(address: str, taken: Iterable[str]) -> bool:
    """Whether an address is taken; the one that means all clashes with every other."""
    return any(address == other or ANY_ADDRESS in (address, other) for other in taken)


def refuse(pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    taken = [port for other in info.pods for port in host_ports(other)]
    return (REASON,) if any_clash(host_ports(pod), taken) else ()


def any_clash(wanted: Iterable[HostPort], taken: Iterable[HostPort]) -> bool:
    there = tuple(taken)
    return any(
        clashes(
            port.address,
            (one.address for one in there if (one.protocol, one.number) == (port.protocol, port.number)),
        )
        for port in wanted
    )


def filter_nodes(facts: PodFacts, table: Table) -> Iterator[Refusal]:
    if not facts.ports:
        return
    refused = np.zeros(table.columns, np.bool_)
    for port in facts.ports:
        for column, taken in table.ports.get((port.protocol, port.number), {}).items():
            if clashes(port.address, taken):
                refused[column] = True
    yield Refusal(refused, REASON, helped=True)


def freed(facts: PodFacts, what: Happening) -> bool:
    return any_clash(facts.ports, host_ports(what.old))


WAKES = (Wake(Node, Action.ADDED), Wake(Pod, Action.GONE, freed))
PLUGIN = Plugin("NodePorts", filter=filter_nodes, refuse=refuse, wakes=WAKES)
