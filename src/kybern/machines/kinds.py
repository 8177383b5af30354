"""The drivers by name: a new one is a file and a line."""

from collections.abc import Callable

from kybern.machines.driver import Driver
from kybern.machines.images import Say
from kybern.machines.lxc import Lxc

DRIVERS: dict[str, Callable[[Say], Driver]] = {"lxc": Lxc}


def of(name: str, say: Say) -> Driver:
    """A driver; ``say`` tells what takes long."""
    return DRIVERS[name](say)
