"""What a node may be short of, and where the line is. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kybern.kubelet.stats.use import FileSystem, Memory, NodeUse
from kybern.machinery.quantity import Format, Quantity, QuantityError, parse

MEMORY, PIDS, PODS_MEMORY = "memory.available", "pid.available", "allocatableMemory.available"

# Upstream's --eviction-hard.
DEFAULT: Mapping[str, str] = {
    MEMORY: "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
# With containerd, what containers write lies where images do: upstream puts imagefs' lines for it, whatever was asked.
_IGNORED = ("containerfs.available", "containerfs.inodesFree")
SIGNALS = (*DEFAULT, PIDS, *_IGNORED)

_CONDITIONS = {"memory": "MemoryPressure", "allocatableMemory": "MemoryPressure", "pid": "PIDPressure"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """``value`` is a quantity or a percentage. Hard ones have no grace (seconds). ``minimum`` is freed beyond the value."""

    signal: str
    value: str
    grace: float = 0.0
    minimum: str = ""

    @property
    def hard(self) -> bool:
        return self.grace == 0.0

    @property
    def condition(self) -> str:
        """The node's condition that tells of it."""
        return _CONDITIONS.get(self.signal.partition(".")[0], "DiskPressure")

    @property
    def resource(self) -> str:
        """What it is called when pods are told."""
        if self.signal in (MEMORY, PODS_MEMORY):
            return "memory"
        if self.signal == PIDS:
            return "pids"
        return "inodes" if self.signal.endswith("inodesFree") else "ephemeral-storage"


class Amount(NamedTuple):
    """What is left of how much."""

    available: int
    whole: int


def limit(text: str, whole: int) -> int:
    """A threshold as an amount: a quantity, or a part of the whole. Raises ValueError."""
    if text.endswith("%"):
        return int(whole * float(text[:-1]) / 100)
    try:
        return parse(text).value()
    except QuantityError as problem:
        raise ValueError(f'"{text}" is neither a quantity nor a percentage') from problem


def shown(signal: str, amount: int) -> str:
    """An amount as it is told: bytes by powers of 1024, counts by thousands."""
    form = Format.DECIMAL if signal == PIDS or signal.endswith("inodesFree") else Format.BINARY
    return str(Quantity(amount * 10**9, form))


def checked(signal: str, value: str) -> str:
    """The value of a threshold, or an empty one for what switches a signal off. Raises ValueError in upstream's words."""
    if signal not in SIGNALS:
        raise ValueError(f"unsupported eviction signal {signal}")
    amount = limit(value, 100)
    if value.endswith("%"):
        if amount < 0:
            raise ValueError(f"eviction percentage threshold {signal} must be >= 0%: {value}")
        if amount > 100:
            raise ValueError(f"eviction percentage threshold {signal} must be <= 100%: {value}")
        return "" if float(value[:-1]) in (0.0, 100.0) else value
    if amount <= 0:
        raise ValueError(f"eviction threshold {signal} must be positive: {value}")
    return value


@dataclass(frozen=True, slots=True)
class Lines:
    """As configured: values by signal, grace in seconds, minimums by signal."""

    hard: Mapping[str, str]
    soft: Mapping[str, str]
    grace: Mapping[str, float]
    minimum: Mapping[str, str]
    of_pods: bool = True


def thresholds(lines: Lines) -> tuple[Threshold, ...]:
    """All of them. ``of_pods``: pods together have a limit, too (enforceNodeAllocatable). Raises ValueError."""
    return tuple(_thresholds(lines))


def _thresholds(lines: Lines) -> Iterator[Threshold]:
    for signal, value in lines.hard.items():
        if checked(signal, value) and signal not in _IGNORED:
            yield Threshold(signal, value, 0.0, lines.minimum.get(signal, ""))
            if signal == MEMORY and lines.of_pods:
                yield Threshold(PODS_MEMORY, value, 0.0, lines.minimum.get(signal, ""))
    for signal, value in lines.soft.items():
        if signal not in lines.grace:
            raise ValueError(f"grace period must be specified for the soft eviction threshold {signal}")
        if checked(signal, value) and signal not in _IGNORED:
            yield Threshold(signal, value, lines.grace[signal], lines.minimum.get(signal, ""))


def observed(found: NodeUse) -> Mapping[str, Amount]:
    """What is left, by signal. A file system without a count of inodes is never short of them."""
    known = {
        MEMORY: _of_memory(found.memory),
        PIDS: Amount(found.most_processes - found.processes, found.most_processes),
        **_of_disk("nodefs", found.fs),
        **_of_disk("imagefs", found.image_fs),
    }
    if found.pods_memory is not None and found.pods_memory.available is not None:
        known[PODS_MEMORY] = _of_memory(found.pods_memory)
    return {signal: amount for signal, amount in known.items() if amount.whole > 0}


def _of_memory(found: Memory) -> Amount:
    left = found.available or 0
    return Amount(left, left + found.working_set)


def _of_disk(name: str, fs: FileSystem) -> Mapping[str, Amount]:
    return {
        f"{name}.available": Amount(fs.available, fs.capacity),
        f"{name}.inodesFree": Amount(fs.inodes_free, fs.inodes),
    }
