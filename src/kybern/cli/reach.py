"""Which machines answer: asked all at once, before a verb begins that would wait long for one that is dead."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from kybern.machines.booting import answers
from kybern.machines.topology import Machine

WITHIN = 15.0  # seconds: a slow machine greets late while it has much to do


def answering(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    """The machines whose SSH answers, asked all at once."""
    asked = tuple(machines)
    with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
        found = pool.map(lambda machine: answers(machine, WITHIN), asked)
        return tuple(each for each, there in zip(asked, found, strict=True) if there)
