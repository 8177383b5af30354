"""The events of a watch as bytes: JSON lines or protobuf messages, of objects, their metadata, or tables.

A frame is the same for everyone who asks for the same form (``key``), except for tables, whose first one has headers.
"""

from kybern.apiserver import binary
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import list as listing
from kybern.apiserver.negotiate import PROTOBUF, Form
from kybern.apiserver.render import Renderer, event
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Raw
from kybern.storage.cache import Cache
from kybern.storage.entry import Entry
from kybern.storage.value import encoded

INITIAL_END = "k8s.io/initial-events-end"


def error(problem: ApiError, form: Form) -> bytes:
    return _values("ERROR", problem.status(), form)


def _values(kind: str, raw: Raw, form: Form) -> bytes:
    if form.media == PROTOBUF:
        return binary.frame(kind, binary.encode(raw))
    return event(kind, encoded(raw))


class Frames:
    """``include`` is what a table's rows hold of the object."""

    def __init__(self, call: Call, cache: Cache, form: Form, include: str) -> None:
        self.form = form
        self.key = (call.kind.api_version, form.media, form.shape, form.version, include)
        self.shared = form.shape != "Table"
        self._call = call
        self._cache = cache
        self._renderer = Renderer(form, 0.0, include)
        self._headers = True

    def change(self, kind: str, entry: Entry, item: bytes) -> bytes:
        """An event about an entry; ``item`` differs from the entry's own when the object is as of another revision."""
        call, form = self._call, self.form
        if form.media == PROTOBUF and not form.shape and call.kind.conversion is None:
            own = self._cache.form
            message = self._cache.message(entry) if item is entry.item else own.message(item)
            return binary.frame(kind, own.enveloped(message))
        whole = call.engine.form(call.kind)
        if call.kind.conversion is not None:
            item = listing.converted(call, self._cache.form.raw_item(item))
        if not form.shape and form.media != PROTOBUF:
            return event(kind, whole.full(item))
        raw = whole.raw_item(item)
        if not form.shape:
            return _values(kind, raw, form)
        return _values(kind, self._shaped(raw, {"resourceVersion": raw["metadata"]["resourceVersion"]}), form)

    def _shaped(self, raw: Raw, listed: Raw) -> Raw:
        version = f"meta.k8s.io/{self.form.version}"
        if self.form.shape != "Table":
            return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": raw["metadata"]}
        self._renderer.now = self._call.engine.clock()
        table = self._renderer.table(self._call.kind, [raw], listed, headers=self._headers)
        self._headers = False
        return table

    def bookmark(self, revision: int, *, initial: bool) -> bytes:
        """A frame that says up to where the client has seen everything."""
        metadata: Raw = {"resourceVersion": str(revision)}
        if initial:
            metadata["annotations"] = {INITIAL_END: "true"}
        kind = self._call.kind
        raw: Raw = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        if self.form.shape:
            raw = self._shaped(raw, {"resourceVersion": metadata["resourceVersion"]})
        return _values("BOOKMARK", raw, self.form)
