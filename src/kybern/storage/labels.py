"""Which entries of a cache have a label: an index for each label that somebody has selected by.

Controllers and people select by few labels, again and again, and what they select is a small part of what there is. So a
label is indexed when it is first asked for, and kept up to date from then on; labels that nobody asks for cost nothing.
"""

from collections.abc import Iterable

from kybern.storage.entry import Entry

MOST = 32
"""Labels indexed at once; beyond it the oldest is dropped, so that clients cannot make it grow without end."""


class Labels:
    """Of all entries: for a label, from each value to the entries that have it, by key."""

    def __init__(self) -> None:
        self._by: dict[str, dict[str, dict[str, Entry]]] = {}

    def having(self, label: str, value: str, everything: Iterable[Entry]) -> Iterable[Entry]:
        """Those with a value, in no order. ``everything`` is what there is, for the first time."""
        found = self._by.get(label)
        if found is None:
            if len(self._by) >= MOST:
                del self._by[next(iter(self._by))]
            found = self._by[label] = {}
            for entry in everything:
                _add(found, label, entry)
        return found.get(value, {}).values()

    def change(self, before: Entry | None, now: Entry | None) -> None:
        """One entry took the place of another, came, or went."""
        for label, values in self._by.items():
            if before is not None:
                _remove(values, label, before)
            if now is not None:
                _add(values, label, now)

    def clear(self) -> None:
        """Everything is different."""
        self._by.clear()


def _add(values: dict[str, dict[str, Entry]], label: str, entry: Entry) -> None:
    value = entry.labels.get(label)
    if value is not None:
        values.setdefault(value, {})[entry.key] = entry


def _remove(values: dict[str, dict[str, Entry]], label: str, entry: Entry) -> None:
    value = entry.labels.get(label)
    if value is None:
        return
    having = values[value]
    del having[entry.key]
    if not having:
        del values[value]
