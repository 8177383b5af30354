"""A pod's CPUs and devices, container by container. Pure, but that the hands know what they gave."""

from collections.abc import Sequence
from typing import Protocol

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.topology.hints import Hint, Hints, Numa
from kybern.kubelet.topology.merge import Policy, merge

ANY = Hint(None, False)
"""Nobody looked what would be near."""


class Unaligned(Exception):
    """What a pod asks for cannot be had near each other; the message is upstream's."""

    def __init__(self) -> None:
        super().__init__("Resources cannot be allocated with Topology locality")


class Hand(Protocol):
    """Gives one pod what it asks for of one sort; ``take`` raises when there is not enough."""

    def hints(self, container: Container | None) -> tuple[Hints, ...]:
        """Of each kind of thing that a container asks for; None: that the whole pod does."""
        ...

    def take(self, container: Container, hint: Hint) -> None:
        """Give a container what it asks for, from the hint's nodes as far as they go."""
        ...


def allot(pod: Pod, hands: Sequence[Hand], policy: Policy, numa: Numa) -> None:
    """Let the hands give a pod all it asks for. Raises Unaligned, and what the hands raise."""
    whole = _hint(hands, None, policy, numa) if policy.name != "none" and policy.scope == "pod" else None
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        hint = whole
        if policy.name != "none" and policy.scope == "container":
            hint = _hint(hands, container, policy, numa)
        for hand in hands:
            hand.take(container, hint or ANY)


def _hint(hands: Sequence[Hand], container: Container | None, policy: Policy, numa: Numa) -> Hint:
    found, admitted = merge((kind for hand in hands for kind in hand.hints(container)), policy, numa)
    if not admitted:
        raise Unaligned
    return found
