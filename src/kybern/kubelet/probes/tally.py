"""When the outcomes of a probe become a verdict: after so many of the same in a row. Pure."""

from dataclasses import dataclass

from kybern.api.core_v1 import Probe


@dataclass(frozen=True, slots=True)
class Tally:
    """The last outcome and how often it came in a row."""

    last: bool | None = None
    row: int = 0


def count(tally: Tally, outcome: bool | None, probe: Probe) -> tuple[Tally, bool | None]:
    """Take in an outcome (None: the probe itself could not be made, which counts for nothing). The verdict, or None."""
    if outcome is None:
        return tally, None
    row = tally.row + 1 if tally.last is outcome else 1
    needed = probe.success_threshold if outcome else probe.failure_threshold
    return Tally(outcome, row), outcome if row >= (needed or (1 if outcome else 3)) else None
