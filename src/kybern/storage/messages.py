"""Objects as protobuf messages, made once a version and kept with the cache's entries, as far as there is room.

Clients written in Go ask for protobuf: they list at their start and watch from then on, many of them the same objects.
Making a message costs some ten times what finding it costs. What is kept is bounded for all caches together; beyond that
a message is made each time. Versions that are gone give their room back.

The message of an object that was just written is made for the writer, before the store tells the cache of it. A few of
those wait for their entries here.
"""

from collections.abc import Iterable
from typing import Protocol

from kybern.storage.value import Form

MOST_BYTES = 64 << 20
MOST_WAITING = 64


class Keeper(Protocol):
    """An entry of a cache."""

    key: str
    item: bytes
    message: bytes | None


class Messages:
    def __init__(self, most: int = MOST_BYTES) -> None:
        self.room = most
        self._waiting: dict[str, tuple[bytes, bytes]] = {}

    def of(self, form: Form, entry: Keeper, *, keep: bool) -> bytes:
        """The message of an entry that has none yet; of one that is no longer the cache's it is not kept."""
        item, message = self._waiting.pop(entry.key, (b"", b""))
        if item != entry.item:
            message = form.message(entry.item)
        if keep and len(message) <= self.room:
            self.room -= len(message)
            entry.message = message
        return message

    def forget(self, entries: Iterable[Keeper]) -> None:
        """The entries are no longer what is there."""
        for entry in entries:
            if entry.message is not None:
                self.room += len(entry.message)
                entry.message = None

    def expect(self, key: str, item: bytes, message: bytes) -> None:
        """An entry of this item will come."""
        self._waiting.pop(key, None)
        self._waiting[key] = item, message
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
