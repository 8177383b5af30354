"""Which endpoints a node should use, by the hints that EndpointSlices carry (KEP-2433, KEP-3015). Pure.

Hints are followed only when every ready endpoint has one and at least one is for this place: for this node first, else for
its zone. Otherwise all endpoints count, so that a hint never leaves a node with nobody to ask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kybern.api.discovery_v1 import Endpoint


@dataclass(frozen=True, slots=True)
class Place:
    """Where the proxy runs: the node's name, and its zone ("" when the node has no such label)."""

    node: str
    zone: str = ""


def hints(ready: Sequence[Endpoint], place: Place) -> Callable[[Endpoint], bool]:
    """Whether an endpoint is for this place; ``ready`` are all that are ready."""
    for wanted, names in ((place.node, _nodes), (place.zone, _zones)):
        hinted = [names(one) for one in ready]
        if hinted and all(hinted) and any(wanted in each for each in hinted):
            return _naming(wanted, names)
    return lambda _one: True


def _naming(wanted: str, names: Callable[[Endpoint], tuple[str, ...]]) -> Callable[[Endpoint], bool]:
    return lambda one: wanted in names(one)


def _nodes(one: Endpoint) -> tuple[str, ...]:
    return tuple(each.name for each in one.hints.for_nodes) if one.hints else ()


def _zones(one: Endpoint) -> tuple[str, ...]:
    return tuple(each.name for each in one.hints.for_zones) if one.hints else ()
