"""Where an Ingress is reached: the addresses of the machines that serve it, as far as they are Ready.

Reads Ingress, IngressClass, Node. Writes Ingress.status.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from kybern.api.core_v1 import Node
from kybern.api.networking_v1 import (
    Ingress,
    IngressClass,
    IngressLoadBalancerIngress,
    IngressLoadBalancerStatus,
)
from kybern.ingress.objects import class_of, ours
from kybern.loop.controller import Action, Controller, Key, PatchStatus, View, WhenChanged
from kybern.machinery.struct import replace

NAME = "kybern-ingress"


@dataclass(frozen=True, slots=True)
class State:
    """``is_ours`` is whether its class is; ``addresses`` are those that serve."""

    ingress: Ingress
    is_ours: bool
    addresses: tuple[str, ...]


def serving(nodes: Iterable[Node], published: Collection[str]) -> tuple[str, ...]:
    """The addresses of ``published`` whose nodes are Ready."""
    found = {
        address.address
        for node in nodes
        if _is_ready(node)
        for address in node.status.addresses
        if address.address in published
    }
    return tuple(sorted(found))


def _is_ready(node: Node) -> bool:
    return any((one.type, one.status) == ("Ready", "True") for one in node.status.conditions)


def observe(published: Collection[str], view: View, key: Key) -> State | None:
    ingress = view.get(Ingress, key.namespace, key.name)
    if ingress is None or ingress.metadata.deletion_timestamp is not None:
        return None
    is_ours = class_of(ingress) in ours(view.list(IngressClass))
    return State(ingress, is_ours, serving(view.list(Node), published))


def diff(published: Collection[str], state: State) -> Iterator[Action]:
    has = tuple(one.ip for one in told.ingress) if (told := state.ingress.status.load_balancer) else ()
    if state.is_ours:
        wanted = state.addresses
    elif set(has) <= set(published):
        wanted = ()  # it was ours
    else:
        return
    if has != wanted:
        ingress = tuple(IngressLoadBalancerIngress(ip=one) for one in wanted)
        status = replace(state.ingress.status, load_balancer=IngressLoadBalancerStatus(ingress=ingress))
        yield PatchStatus(state.ingress, replace(state.ingress, status=status))


def _facts(node: Node) -> Any:
    return _is_ready(node), node.status.addresses


def _all(_changed: object, view: View) -> Iterable[Key]:
    return (Key(one.metadata.namespace, one.metadata.name) for one in view.list(Ingress))


def controller(published: Collection[str]) -> Controller[State]:
    of_nodes: Callable[[Any, View], Iterable[Key]] = WhenChanged(_facts, _all)
    return Controller(
        NAME,
        Ingress,
        partial(observe, published),
        partial(diff, published),
        watches=((IngressClass, _all), (Node, of_nodes)),
    )
