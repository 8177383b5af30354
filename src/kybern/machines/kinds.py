"""The drivers by name: a new one is a file and a line."""

from collections.abc import Callable

from kybern.machines.driver import Driver
from kybern.machines.images import Say
from kybern.machines.lxc import Lxc
from kybern.machines.qemu import Qemu

DRIVERS: dict[str, Callable[[Say], Driver]] = {"lxc": Lxc, "qemu": Qemu}


def of(name: str, say: Say) -> Driver:
    """A driver; ``say`` tells what takes long."""
    return DRIVERS[name](say)
