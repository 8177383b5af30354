"""What the server knows of each machine, as a file: how far it is, and when it was last heard of. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

WAITING, BOOTING, INSTALLING, INSTALLED, REFUSED, FAILED = (
    "waiting",
    "booting",
    "installing",
    "installed",
    "refused",
    "failed",
)
LONGEST = 500
"""Characters that are kept of what a machine says: it may be anybody who says it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """``heard`` in seconds since 1970, 0 for never. ``order`` is the last order to install anew that was carried out."""

    phase: str = WAITING
    said: str = ""
    heard: float = 0.0
    ticket: str = ""
    order: str = ""
    host_key: str = ""

    @property
    def installed(self) -> bool:
        """Has a finished installation, whatever is happening now."""
        return bool(self.host_key)


def booting(seen: Seen, ticket: str, now: float) -> Seen:
    return replace(seen, phase=BOOTING, said="loads the installer", heard=now, ticket=ticket)


def from_disk(seen: Seen, now: float) -> Seen:
    return replace(seen, phase=INSTALLED, said="starts from its disk", heard=now)


def said(seen: Seen, phase: str, text: str, now: float) -> Seen:
    """``text`` comes from the machine: one line of it is kept."""
    plain = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return replace(seen, phase=phase, said=plain[:LONGEST], heard=now)


def installed(seen: Seen, host_key: str, order: str, now: float) -> Seen:
    """The ticket is used up: nobody speaks for this machine any more until it boots again."""
    return replace(
        seen,
        phase=INSTALLED,
        said="is installed",
        heard=now,
        ticket="",
        order=order or seen.order,
        host_key=host_key,
    )


def public_key(text: str) -> str:
    """Kind and key of a line such as ssh-keygen writes. Raises ValueError for another."""
    words = text.split()
    if len(words) < 2 or words[0] != "ssh-ed25519" or not words[1].isascii() or len(words[1]) > LONGEST:
        raise ValueError("not the public half of an ed25519 key")
    return f"{words[0]} {words[1]}"


def written(all_seen: Mapping[str, Seen]) -> str:
    return json.dumps({root: asdict(one) for root, one in all_seen.items()}, indent=1) + "\n"


def read(text: str) -> dict[str, Seen]:
    """By the UUID of the machine's root (``Wanted.partition``). Raises ValueError for what is no such file."""
    try:
        raw: dict[str, dict[str, Any]] = json.loads(text)
        return {root: Seen(**one) for root, one in raw.items()}
    except (TypeError, AttributeError) as problem:
        raise ValueError(f"not what kybern-netboot has seen: {problem}") from problem
