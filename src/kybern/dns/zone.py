"""All names of the cluster, kept per service: a service that changes touches its own names only.

What holds: ``find`` is two look-ups in dictionaries, however many services there are. A name above one that has records
exists without any (``_tcp.web.default.svc...``), which is told by counting what stands below it: a question for such a
name is answered with nothing (NODATA), one for any other unknown name with NXDOMAIN.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from kybern.dns.records import PTR, Record


@dataclass(slots=True)
class Zone:
    """``domain`` is the cluster's, lower case, without the dot at its end. ``version`` grows with every change."""

    domain: str
    version: int = 0
    namespaces: set[str] = field(default_factory=set)
    _owned: dict[Hashable, frozenset[Record]] = field(default_factory=dict)
    _names: dict[str, dict[Record, int]] = field(default_factory=dict)
    _below: dict[str, int] = field(default_factory=dict)

    def put(self, owner: Hashable, records: frozenset[Record]) -> bool:
        """Replace what belongs to ``owner``; tells whether anything changed."""
        before = self._owned.get(owner, frozenset())
        if before == records:
            return False
        for record in before - records:
            self._remove(record)
        for record in records - before:
            self._add(record)
        if records:
            self._owned[owner] = records
        else:
            self._owned.pop(owner, None)
        self.version += 1
        return True

    def set_namespaces(self, names: Iterable[str]) -> None:
        found = set(names)
        if found != self.namespaces:
            self.namespaces = found
            self.version += 1

    def set_namespace(self, name: str, *, exists: bool) -> None:
        """One namespace more or less."""
        if exists != (name in self.namespaces):
            (self.namespaces.add if exists else self.namespaces.discard)(name)
            self.version += 1

    def find(self, name: str) -> tuple[Record, ...]:
        """All records of a name."""
        return tuple(self._names.get(name, ()))

    def has(self, name: str) -> bool:
        """Whether a name is in the zone's domain, be it known or not."""
        return name == self.domain or name.endswith(f".{self.domain}")

    def exists(self, name: str) -> bool:
        """Whether a name has records, or stands above one that has."""
        return name in self._names or name in self._below

    def __len__(self) -> int:
        return len(self._names)

    def _add(self, record: Record) -> None:
        # Two services may have equal records (reverse names): each of them keeps it alive.
        counts = self._names.setdefault(record.name, {})
        counts[record] = counts.get(record, 0) + 1
        if record.type != PTR:
            for above in self._above(record.name):
                self._below[above] = self._below.get(above, 0) + 1

    def _remove(self, record: Record) -> None:
        counts = self._names[record.name]
        counts[record] -= 1
        if not counts[record]:
            del counts[record]
            if not counts:
                del self._names[record.name]
        if record.type != PTR:
            for above in self._above(record.name):
                self._below[above] -= 1
                if not self._below[above]:
                    del self._below[above]

    def _above(self, name: str) -> Iterator[str]:
        """The names between this one and the namespace's, which exists by itself."""
        labels = name[: -len(self.domain) - 1].split(".")
        for start in range(1, len(labels) - 2):
            yield f"{'.'.join(labels[start:])}.{self.domain}"
