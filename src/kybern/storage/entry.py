"""What a cache keeps of an object, and of a change to one."""

from kybern.machinery.kind import Kind, Raw


class Entry:
    """An object: its bytes and what selection asks for."""

    __slots__ = ("fields", "item", "key", "labels", "name", "namespace", "revision")

    def __init__(self, key: str, revision: int, item: bytes, raw: Raw, kind: Kind) -> None:
        metadata = raw.get("metadata") or {}
        self.key = key
        self.revision = revision
        self.item = item
        self.name: str = metadata.get("name", "")
        self.namespace: str = metadata.get("namespace", "")
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.fields = {name: of(raw) for name, of in kind.selectable.items()} if kind.selectable else {}


class Change:
    """What happened to one key. ``frames`` keeps the encoded forms that watchers share."""

    __slots__ = ("before", "frames", "now", "revision")

    def __init__(self, revision: int, now: Entry | None, before: Entry | None) -> None:
        self.revision = revision
        self.now = now
        self.before = before
        self.frames: dict[object, bytes] = {}
