"""When a node is short of something: upstream's eviction signals against its thresholds. Pure."""

from collections.abc import Mapping

from kybern.kubelet.machine import Pressure
from kybern.machinery.quantity import QuantityError, parse

# Upstream's --eviction-hard.
DEFAULT: Mapping[str, str] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
SIGNALS = (*DEFAULT, "pid.available", "containerfs.available", "containerfs.inodesFree")


def limit(text: str, whole: int) -> int:
    """A threshold as an amount: a quantity, or a part of the whole. Raises ValueError."""
    if text.endswith("%"):
        return int(whole * float(text[:-1]) / 100)
    try:
        return parse(text).value()
    except QuantityError as problem:
        raise ValueError(f'"{text}" is neither a quantity nor a percentage') from problem


def _state(found: Pressure) -> Mapping[str, tuple[int, int]]:
    disk, inodes = (found.disk_available, found.disk_total), (found.inodes_free, found.inodes_total)
    return {
        "memory.available": (found.memory_available, found.memory_total),
        "nodefs.available": disk,
        "nodefs.inodesFree": inodes,
        "imagefs.available": disk,
        "imagefs.inodesFree": inodes,
        "pid.available": (found.pids_available, found.pids_total),
    }


def crossed(found: Pressure, thresholds: Mapping[str, str]) -> frozenset[str]:
    """The signals that are below their thresholds. File systems without a count of inodes are never short of them."""
    short = set()
    for signal, (available, whole) in _state(found).items():
        if signal in thresholds and whole > 0 and available < limit(thresholds[signal], whole):
            short.add(signal)
    return frozenset(short)
