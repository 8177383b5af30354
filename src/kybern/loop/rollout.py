"""The arithmetic of a rolling update, apart from any object; pure.

``fence`` resolves maxSurge and maxUnavailable; ``proportions`` spreads a change of size over replica sets so that none
of them bears it alone. Both give upstream's numbers to the pod.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor


def scaled(value: int | str | None, total: int, *, up: bool) -> int:
    """A number, or a share of ``total`` such as 25%."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total / 100
    return ceil(share) if up else floor(share)


def fence(surge: int | str | None, unavailable: int | str | None, wanted: int) -> tuple[int, int]:
    """The pods of maxSurge and maxUnavailable in pods. One of them must allow something, or nothing would ever move."""
    more, less = scaled(surge, wanted, up=True), scaled(unavailable, wanted, up=False)
    return more, (1 if more == 0 and less == 0 else less)


@dataclass(frozen=True, slots=True)
class Share:
    """A replica set's size, and the size of the whole (with surge) when it was last scaled."""

    size: int
    whole_before: int


def _rounded(value: float) -> int:
    return floor(value + 0.5) if value >= 0 else ceil(value - 0.5)


def _fraction(share: Share, wanted: int, surge: int) -> int:
    if wanted == 0:
        return -share.size
    if share.whole_before == 0:
        return 0
    return _rounded(share.size * (wanted + surge) / share.whole_before) - share.size


def proportions(shares: Sequence[Share], wanted: int, surge: int) -> list[int]:
    """New sizes, in the given order (the one that gets what is left over comes first)."""
    allowed = wanted + surge if wanted > 0 else 0
    change = allowed - sum(share.size for share in shares)
    sizes, added = [], 0
    for share in shares:
        part = 0
        if share.size and change and added != change:
            pick = min if change > 0 else max
            part = pick(_fraction(share, wanted, surge), change - added)
        sizes.append(share.size + part)
        added += part
    if sizes and change:
        sizes[0] = max(sizes[0] + change - added, 0)
    return sizes
