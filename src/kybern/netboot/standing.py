"""How far the machines are, as the operator's side sees it: from what their server has seen. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kybern.netboot.seen import INSTALLED, Seen


@dataclass(frozen=True, slots=True)
class Standing:
    """``told`` is for people. Without a key nobody can be reached; one that ``answers`` has been reached with it."""

    name: str
    address: str
    key: str
    done: bool
    told: str


class OtherKey(ValueError):
    """A machine has another key than the recorded one, and nobody ordered it to be installed anew."""


def standing(name: str, address: str, seen: Seen | None, recorded: str, order: str) -> Standing:
    """``recorded`` is the key that is known here, ``order`` this run's order to install it anew; empty for none.

    Raises OtherKey.
    """
    found = seen or Seen()
    if order and found.order != order:
        return Standing(name, address, "", done=False, told=_told(found))
    if found.host_key and recorded and found.host_key != recorded and not found.order:
        raise OtherKey(
            f"{name} has made itself another host key than the one recorded, and was not ordered to be installed anew; when "
            f"its disk was exchanged, take its line ({address}) out of known_hosts, else look who that is"
        )
    key = found.host_key or recorded
    return Standing(name, address, key, done=bool(key), told=_told(found))


def _told(seen: Seen) -> str:
    return f"{seen.phase}: {seen.said}" if seen.said else "was not heard of yet"


def missing(standings: Iterable[Standing], seen: Mapping[str, Seen], now: float) -> Sequence[str]:
    """A line for each machine that is not there in time, with what was last heard of it and what to look at."""
    return [_missing(one, seen.get(one.name, Seen()), now) for one in standings]


def _missing(one: Standing, seen: Seen, now: float) -> str:
    if not seen.heard:
        return (
            f"{one.name} was never heard of: see that it is on, boots over the network first, is on the network of its "
            "server, and that its mac in the topology is that of the card it boots from"
        )
    ago = f"last heard of {max(now - seen.heard, 0) / 60:.0f} minutes ago"
    if one.done and seen.phase == INSTALLED:
        return (
            f"{one.name} is installed and does not answer by SSH at {one.address} ({ago}: {seen.phase}, {seen.said}); look "
            "at its console: its firmware has to go on to the disk when the network tells it to"
        )
    return f"{one.name}: {ago}: {seen.phase}, {seen.said}"


def known_hosts(lines: Iterable[str], standings: Iterable[Standing]) -> list[str]:
    """The file's lines with the machines' keys; other lines stay as they are."""
    new = {one.address: one for one in standings if one.key}
    kept = [line for line in lines if not _of(line, new)]
    return [*kept, *(f"{one.address},{one.name} {one.key}" for one in new.values())]


def _of(line: str, addresses: Iterable[str]) -> bool:
    words = line.split(maxsplit=1)
    return bool(words) and bool(set(words[0].split(",")) & set(addresses))
