"""What a cache keeps of an object, and of a change to one.

Of each object that is written the cache needs the labels, so only these are read of it at once. The fields that may be
selected by are worked out when somebody selects by fields, which for most kinds nobody does.
"""

import msgspec

from kybern.machinery.kind import Raw
from kybern.storage.value import Form


class _Metadata(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None


class _Facts(msgspec.Struct, gc=False):
    metadata: _Metadata


_facts = msgspec.json.Decoder(_Facts).decode


def _read(item: bytes) -> tuple[str, str, dict[str, str]]:
    """Name, namespace and labels."""
    try:
        found = _facts(item).metadata
    except msgspec.ValidationError:
        # Somebody else wrote null where we would write nothing.
        raw: Raw = msgspec.json.decode(item).get("metadata") or {}
        return raw.get("name") or "", raw.get("namespace") or "", raw.get("labels") or {}
    return found.name, found.namespace, found.labels or {}


class Entry:
    """An object: its bytes and what selection asks for."""

    __slots__ = ("_fields", "_form", "item", "key", "labels", "message", "name", "namespace", "revision")

    def __init__(self, key: str, revision: int, item: bytes, form: Form) -> None:
        self.key = key
        self.revision = revision
        self.item = item
        self.message: bytes | None = None
        self.name, self.namespace, self.labels = _read(item)
        self._form = form
        self._fields: dict[str, str] | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The values of the kind's field selectors."""
        if self._fields is None:
            raw = self._form.raw_item(self.item)
            self._fields = {name: of(raw) for name, of in self._form.selectable.items()}
        return self._fields


class Change:
    """What happened to one key. ``frames`` keeps the encoded forms that watchers share, for a moment."""

    __slots__ = ("before", "frames", "now", "revision")

    def __init__(self, revision: int, now: Entry | None, before: Entry | None) -> None:
        self.revision = revision
        self.now = now
        self.before = before
        self.frames: dict[object, bytes] = {}
