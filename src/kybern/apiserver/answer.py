"""What a verb gives back, before it is known in which form the client wants it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kybern.machinery.kind import Kind, Raw
from kybern.storage.cache import Cache
from kybern.storage.entry import Entry


class One(NamedTuple):
    """An object as full JSON."""

    kind: Kind
    body: bytes
    code: int = 200


@dataclass(frozen=True, slots=True)
class Many:
    """A list, as items in their list form. ``entries`` are those of ``cache`` that the items are of, if they lie there."""

    kind: Kind
    items: Sequence[bytes]
    revision: int
    continued: str = ""
    remaining: int = 0
    entries: Sequence[Entry] = ()
    cache: Cache | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """A value of its own, such as a Status, a Scale or a review."""

    raw: Raw
    code: int = 200


type Answer = One | Many | Plain


def success(kind: Kind, name: str, uid: str) -> Plain:
    """The Status of a deletion."""
    details: dict[str, Any] = {"name": name}
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.plural
    if uid:
        details["uid"] = uid
    return Plain(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
    )
