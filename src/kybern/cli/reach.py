"""Which machines answer: asked all at once, before a verb begins that would wait long for one that is dead."""

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from kybern.machines.topology import Machine

SSH = 22
WITHIN = 3.0  # seconds


def answering(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    """The machines whose SSH answers, asked all at once."""
    asked = tuple(machines)
    with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
        return tuple(each for each, there in zip(asked, pool.map(_answers, asked), strict=True) if there)


def _answers(machine: Machine) -> bool:
    try:
        with socket.create_connection((str(machine.address), SSH), timeout=WITHIN) as connection:
            connection.settimeout(WITHIN)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
