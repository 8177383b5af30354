"""How many seats a priority level has: by its shares, and from there by what it and the others ask for. Pure.

A seat is the right to run one ordinary request. KEP-1040, "Dispatching" and "Seat borrowing".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kybern.api.flowcontrol_v1 import PriorityLevelConfiguration

SHARES = 30
EXEMPT = "Exempt"
_LEAST = 0.001  # seats that are aimed at at least, so that nothing is divided by zero
_SMOOTH = 0.977  # of what was asked for before, each ten seconds: half is forgotten after five minutes
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seats of a level: its own, the fewest that are left when it lends, and the most with what it borrows."""

    nominal: int
    least: int
    most: int


def bounds(levels: Iterable[PriorityLevelConfiguration], total: int) -> dict[str, Bounds]:
    """For each level by name; ``total`` is what the server has. Seats are rounded up, so a share is never nothing."""
    asked = {level.metadata.name: _shares(level) for level in levels}
    whole = sum(shares for shares, _, _ in asked.values())
    found = {}
    for name, (shares, lends, borrows) in asked.items():
        nominal = math.ceil(total * shares / whole) if whole else 0
        most = total if borrows is None else nominal + _rounded(nominal * borrows / 100)
        found[name] = Bounds(nominal, nominal - _rounded(nominal * lends / 100), max(most, nominal))
    return found


def _rounded(number: float) -> int:
    """Halves go up."""
    return math.floor(number + 0.5)


def _shares(level: PriorityLevelConfiguration) -> tuple[int, int, int | None]:
    """Shares, and per cent that may be lent and borrowed; None for no bound."""
    if level.spec.type == EXEMPT:
        exempt = level.spec.exempt
        return (
            (exempt.nominal_concurrency_shares or 0, exempt.lendable_percent or 0, None)
            if exempt
            else (0, 0, None)
        )
    limited = level.spec.limited
    if limited is None:
        return SHARES, 0, None
    shares = limited.nominal_concurrency_shares
    return (
        SHARES if shares is None else shares,
        limited.lendable_percent or 0,
        limited.borrowing_limit_percent,
    )


@dataclass(frozen=True, slots=True)
class Demand:
    """Seats that were taken or waited for in a stretch of time: their mean, their deviation, and the most at once."""

    mean: float
    deviation: float
    most: int


def smoothed(before: float, now: Demand) -> float:
    """What a level is likely to ask for: what it asked for now at once, when it was more, and slowly when it was less."""
    likely = min(float(now.most), now.mean + now.deviation)
    return max(likely, _SMOOTH * before + (1 - _SMOOTH) * likely)


def lent(
    total: int, levels: Mapping[str, Bounds], demands: Mapping[str, Demand], likely: Mapping[str, float]
) -> dict[str, int]:
    """The seats of each level until the next look: the same share of what it is likely to ask for, within its bounds.

    Nobody has less than he used at most, up to what is his own.
    """
    least = {name: max(level.least, min(level.nominal, demands[name].most)) for name, level in levels.items()}
    aims = {name: max(likely[name], least[name], _LEAST) for name in levels}

    def given(part: float) -> dict[str, float]:
        return {name: max(least[name], min(level.most, part * aims[name])) for name, level in levels.items()}

    low, high = 0.0, total / min(aims.values(), default=1.0) + 1
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(given(middle).values()) < total else (low, middle)
    return {name: _rounded(seats) for name, seats in given(low).items()}
