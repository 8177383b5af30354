"""What a benchmark is, what it gives, and how processor time is read."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_ALL_THREADS = (
    2  # CPUCLOCK_SCHED of Linux: nanoseconds on a processor, which /proc tells in hundredths of a second
)


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
    # As clock_getcpuclockid(3) makes it, which Python does not offer.
    return time.clock_gettime(~pid << 3 | _ALL_THREADS)


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
