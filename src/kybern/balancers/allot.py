"""Which addresses a service gets. Pure: from the pools, its wish, what it has, and what others have.

What it has it keeps, for as long as that is still what it asks for. Of what is free it gets the first of the first pool,
so that the same cluster gives the same addresses. An address that two may share goes to the second before a free one does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kybern.balancers.wishes import Wish
from kybern.machinery.pools import Address, Pool

NONE_LEFT, TAKEN, UNKNOWN = "NoAddressLeft", "AddressConflict", "AddressUnavailable"

type Holders = Mapping[Address, Sequence[Wish]]  # who else has an address


@dataclass(frozen=True, slots=True)
class Refused:
    """``reason`` and ``message`` are an event's."""

    reason: str
    message: str


def allot(
    pools: Sequence[Pool], wish: Wish, has: Sequence[Address], others: Holders
) -> tuple[Address, ...] | Refused:
    """One address for each version of IP; or why not."""
    eligible = [pool for pool in pools if wish.pool in ("", pool.name)]
    if not eligible:
        known = ", ".join(pool.name for pool in pools)
        return Refused(
            UNKNOWN, f'cannot give an address of pool "{wish.pool}": there is none; there are {known}'
        )
    if stray := next((one for one in wish.asked if one.version not in wish.versions), None):
        return Refused(
            UNKNOWN, f"cannot give {stray}: the service's ipFamilies do not have its version of IP"
        )
    found: list[Address] = []
    refusals: list[Refused] = []
    for version in wish.versions:
        one = _of(version, eligible, wish, [address for address in has if address.version == version], others)
        if isinstance(one, Refused):
            refusals.append(one)
        else:
            found.append(one)
    if refusals and (wish.needs_all or not found):
        return refusals[0]
    return tuple(found)


def _of(
    version: int, pools: Sequence[Pool], wish: Wish, has: Sequence[Address], others: Holders
) -> Address | Refused:
    asked = wish.asked_of(version)
    if asked is not None:
        return _asked(asked, pools, wish, others)
    for address in has:
        if any(address in pool for pool in pools) and _is_free(address, wish, others):
            return address
    candidates = _candidates(version, pools, wish, others)
    found = next((address for address in candidates if _is_free(address, wish, others)), None)
    if found is not None:
        return found
    names = ", ".join(pool.name for pool in pools)
    return Refused(NONE_LEFT, f"no IPv{version} address is left in {names}; widen the pool, or free one")


def _asked(asked: Address, pools: Sequence[Pool], wish: Wish, others: Holders) -> Address | Refused:
    if not any(asked in pool for pool in pools):
        names = ", ".join(pool.name for pool in pools)
        return Refused(UNKNOWN, f"cannot give {asked}: it is not in {names}")
    if _is_free(asked, wish, others):
        return asked
    owner = "/".join(next(one for one in others[asked] if not wish.may_share(one)).key)
    return Refused(TAKEN, f"cannot give {asked}: {owner} has it, and the two do not share")


def _candidates(version: int, pools: Sequence[Pool], wish: Wish, others: Holders) -> Iterator[Address]:
    if wish.share:
        shared = (one for one, holders in others.items() if holders and one.version == version)
        yield from sorted(one for one in shared if any(one in pool for pool in pools))
    for pool in pools:
        yield from pool.of(version)


def _is_free(address: Address, wish: Wish, others: Holders) -> bool:
    return all(wish.may_share(one) for one in others.get(address, ()))
