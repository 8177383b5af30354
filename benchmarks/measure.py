"""What a benchmark is, what it gives, and how processor time is read."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
USER, SYSTEM = 11, 12  # fields of /proc/PID/stat behind the command's name


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``middle`` is the median by the clock, of requests only."""

    operation: str
    value: float
    unit: str = "ms CPU"
    middle: float | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Benchmark:
    """``run`` ends by itself, in a bounded number of operations."""

    name: str
    run: Callable[[], Iterable[Row]]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    # The command's name stands in brackets and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[USER]) + int(fields[SYSTEM])) / TICKS


def resident_mebibytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has no memory any more")


def timed(operation: str, count: int, work: Callable[[int], object]) -> Row:
    """Processor time of this process for each of ``count`` rounds; the first tenth of them only warms up."""
    warm = count // 10
    for number in range(warm):
        work(number)
    begun = time.process_time()
    for number in range(warm, warm + count):
        work(number)
    return Row(operation, (time.process_time() - begun) * 1000 / count, count=count)
