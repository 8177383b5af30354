"""Which network namespaces and addresses belong to no sandbox any more. Pure.

containerd that is killed while it makes a sandbox knows nothing of it afterwards, and the network namespace and the address
that the sandbox had got so far stay for ever. Three things make it safe to take them back:

- nobody has them: no sandbox of the runtime, running or dead, names them, and no process lives in the namespace;
- nobody is making a sandbox of them: they are older than the process of the runtime that is there now, or have belonged to
  nobody for longer than the making of a sandbox may take; and in both cases they were looked at twice;
- they are the runtime's: namespaces lie where it puts them and have its kind of name, addresses are of its own networks.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TWICE = 50.0
"""Seconds between the two looks that it takes at least."""
MAKING = 300.0
"""Seconds: the kubelet gives up making a sandbox after 240 (twice upstream's --runtime-request-timeout)."""
_GRANULARITY = 1.0
_NAME = re.compile("cni-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace by its file's name. ``made`` is by the wall clock; ``lived`` whether any process is in it."""

    name: str
    made: float
    lived: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address that host-local gave to a sandbox, in one of the runtime's networks."""

    network: str
    address: str
    sandbox: str
    interface: str
    made: float


type Thing = Namespace | Address


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. ``sandboxes`` are ids; ``named`` the namespaces that they name, None when one does not tell.

    ``started`` is when the runtime's process began, by the wall clock; None when nobody knows.
    """

    namespaces: tuple[Namespace, ...]
    addresses: tuple[Address, ...]
    sandboxes: frozenset[str]
    named: frozenset[str] | None
    started: float | None


def is_of_runtime(name: str) -> bool:
    """Whether a namespace has a name as containerd gives them."""
    return _NAME.fullmatch(name) is not None


def nobodys(seen: Seen) -> list[Thing]:
    """All that no sandbox has. While one does not tell what it has, every namespace may be its own."""
    spaces = [one for one in seen.namespaces if seen.named is not None and one.name not in seen.named]
    return [*spaces, *(one for one in seen.addresses if one.sandbox not in seen.sandboxes)]


def remember(since: Mapping[Thing, float], seen: Seen, now: float) -> dict[Thing, float]:
    """Since when each has been nobody's; what someone has in between begins anew. ``now`` is of a steady clock."""
    return {one: since.get(one, now) for one in nobodys(seen)}


def diff(seen: Seen, since: Mapping[Thing, float], now: float) -> list[Thing]:
    """What to take back, in this order: an address is free for others only when no namespace has it any more."""
    ripe = [one for one in since if _is_ripe(one, seen.started, now - since[one])]
    spaces = [one for one in ripe if isinstance(one, Namespace) and not one.lived]
    gone = {one.name for one in spaces}
    if seen.named is None or any(one.name not in gone for one in _spaces(since)):
        # One that stays may be where the address is in use.
        return list(spaces)
    return [*spaces, *(one for one in ripe if isinstance(one, Address))]


def _spaces(things: Iterable[Thing]) -> list[Namespace]:
    return [one for one in things if isinstance(one, Namespace)]


def _is_ripe(one: Thing, started: float | None, nobodys_for: float) -> bool:
    before = started is not None and one.made < started - _GRANULARITY
    return nobodys_for >= (TWICE if before else MAKING)
