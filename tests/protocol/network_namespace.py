"""The thread that runs a block, and what it starts, in another network namespace."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def entered(name: str) -> Iterator[None]:
    """``name``: as ``ip netns`` has it. The thread is back in its own afterwards."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        os.setns(inside, os.CLONE_NEWNET)
        yield
    finally:
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)
        os.close(inside)
