"""What is short, since when, and what follows. Pure: one look makes a new outlook of the old one.

A threshold is due once it was crossed for its grace. One that was due stays so until its minimum is free as well. A
condition of the node stays for the transition period after it was last seen, so that it does not flap.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kybern.kubelet.eviction.signals import MEMORY, PODS_MEMORY, Amount, Threshold, limit


@dataclass(frozen=True, slots=True)
class Outlook:
    """``since``: when each threshold that is crossed was first seen so; ``last``: when each condition was last seen.

    Times are seconds of any clock that does not step. ``due`` comes in the order in which it is to be acted on.
    """

    since: Mapping[Threshold, float] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)
    due: tuple[Threshold, ...] = ()
    conditions: tuple[str, ...] = ()


def crossed(
    thresholds: Iterable[Threshold], seen: Mapping[str, Amount], *, minimum: bool = False
) -> tuple[Threshold, ...]:
    """Those below whose line the node is. ``minimum``: the line is higher, by what is to be freed beyond it."""
    return tuple(
        one for one in thresholds if one.signal in seen and _below(one, seen[one.signal], minimum=minimum)
    )


def _below(one: Threshold, amount: Amount, *, minimum: bool) -> bool:
    line = limit(one.value, amount.whole)
    if minimum and one.minimum:
        line += limit(one.minimum, amount.whole)
    return amount.available < line


def look(
    before: Outlook,
    thresholds: Iterable[Threshold],
    seen: Mapping[str, Amount],
    now: float,
    transition: float,
) -> Outlook:
    """``transition`` is how long a condition stays, in seconds."""
    short = dict.fromkeys((*crossed(thresholds, seen), *crossed(before.due, seen, minimum=True)))
    since = {one: before.since.get(one, now) for one in short}
    last = {**before.last, **{one.condition: now for one in short}}
    due = [one for one, when in since.items() if now - when >= one.grace]
    return Outlook(
        since,
        last,
        tuple(sorted(due, key=lambda one: one.signal not in (MEMORY, PODS_MEMORY))),
        tuple(sorted(name for name, when in last.items() if now == when or now - when < transition)),
    )
