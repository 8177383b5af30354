"""Read many objects: items are joined as they lie in the cache.

Without a resourceVersion the list shows what the store has now: the cache is asked to catch up first. With one (0: any)
the cache answers at once when it is that new. Pages after the first, and exact versions, are read from the store at
their revision, so that a client that pages sees one state.
"""

from collections.abc import Callable, Sequence

import msgspec

from kybern.apiserver import options, problems
from kybern.apiserver.answer import Many
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import pages
from kybern.apiserver.options import ListOptions, Selection
from kybern.machinery.errors import BadRequest
from kybern.storage.cache import Cache, Entry, Stale
from kybern.storage.store import Compacted, Stored
from kybern.storage.translated import translated
from kybern.storage.value import Unreadable

CHUNK = 500


def matcher(selection: Selection) -> Callable[[Entry], bool]:
    """Whether an entry is selected."""
    labels, fields = selection.labels, selection.fields
    if labels is None and not fields:
        return lambda _entry: True
    if not fields and labels is not None:
        by_label = labels.matches
        return lambda entry: by_label(entry.labels)

    def matches(entry: Entry) -> bool:
        for key, operator, value in fields:
            if (_field(entry, key) == value) is not (operator == "="):
                return False
        return labels is None or labels.matches(entry.labels)

    return matches


def _chosen(cache: Cache, prefix: str, selection: Selection) -> list[Entry]:
    """Those below a prefix that are selected. Most selectors ask for the value of a label, which the cache knows."""
    asked = selection.labels.requirements if selection.labels else ()
    first = next((one for one in asked if one.operator == "="), None)
    entries = cache.labelled(prefix, first.key, first.values[0]) if first else cache.entries(prefix)
    if first and len(asked) == 1 and not selection.fields:
        return entries
    matches = matcher(selection)
    return [entry for entry in entries if matches(entry)]


def _field(entry: Entry, key: str) -> str:
    if key == "metadata.name":
        return entry.name
    if key == "metadata.namespace":
        return entry.namespace
    return entry.fields.get(key, "")


async def list_(call: Call) -> Many:
    asked = options.list_options(call.kind, call.query, call.name)
    return await listing(call, asked)


async def listing(call: Call, asked: ListOptions) -> Many:
    if asked.continued:
        found = pages.decode(asked.continued)
        if asked.version and asked.version != "0":
            raise BadRequest("specifying resource version is not allowed when using continue")
        prefix = call.kind.prefix(call.namespace)
        if found.rv > 0:
            await ready(call, str(found.rv))
        return await _stored(call, asked, max(found.rv, 0), prefix + found.start)
    wanted = options.version(asked.version)
    if asked.match == "Exact" or (wanted and asked.limit and not asked.match):
        await ready(call, asked.version)
        return await _stored(call, asked, wanted, "")
    cache = await ready(call, asked.version)
    return _page(call, asked, cache)


async def ready(call: Call, version: str) -> Cache:
    """The cache, as new as the version asks: "" for now, 0 for any. Raises Timeout for a version of the future."""
    if not version:
        return await call.engine.caches.current(call.stored)
    wanted = options.version(version)
    cache = call.engine.cache(call.kind)
    try:
        await cache.reached(wanted)
    except Stale as stale:
        raise problems.too_new(wanted, stale.revision) from stale
    return cache


def _page(call: Call, asked: ListOptions, cache: Cache) -> Many:
    prefix = call.kind.prefix(call.namespace)
    entries = _chosen(cache, prefix, asked.selection) if asked.selection else cache.entries(prefix)
    # Any version will do, so upstream's cache does not cut its answer into pages either.
    limit = 0 if asked.version == "0" else asked.limit
    if not limit or len(entries) <= limit:
        return _many(call, cache, entries)
    shown = entries[:limit]
    following = pages.encode(cache.revision, shown[-1].key.removeprefix(prefix) + "\0")
    remaining = 0 if asked.selection else len(entries) - limit
    return _many(call, cache, shown, following, remaining)


def _many(call: Call, cache: Cache, entries: list[Entry], following: str = "", remaining: int = 0) -> Many:
    shown = items(call, cache, entries)
    if call.kind.conversion is not None:
        return Many(call.kind, shown, cache.revision, following, remaining)
    return Many(call.kind, shown, cache.revision, following, remaining, entries, cache)


def items(call: Call, cache: Cache, entries: Sequence[Entry]) -> list[bytes]:
    """The entries as list items of the call's version."""
    conversion = call.kind.conversion
    if conversion is None:
        return [entry.item for entry in entries]
    form = cache.form
    return [converted(call, form.raw_item(entry.item)) for entry in entries]


def converted(call: Call, raw: dict[str, object]) -> bytes:
    """A stored object as a list item of the call's version."""
    conversion = call.kind.conversion
    found = dict(conversion.from_stored(raw) if conversion else raw)
    for key in ("apiVersion", "kind"):
        found.pop(key, None)
    return msgspec.json.encode({"metadata": found.pop("metadata"), **found})


async def _stored(call: Call, asked: ListOptions, revision: int, start: str) -> Many:
    """From the store at a revision, a chunk at a time until there is enough."""
    prefix = call.kind.prefix(call.namespace)
    cache = call.engine.cache(call.kind)
    found: list[bytes] = []
    limit = asked.limit
    while True:
        try:
            page = await call.engine.store.range(
                prefix, start, max(limit, CHUNK) if asked.selection else limit, revision
            )
        except Compacted:
            raise pages.forgotten(start.removeprefix(prefix)) from None
        revision = page.revision
        for position, stored in enumerate(await translated(call.kind, page.items)):
            item = _selected(call, cache, asked.selection, stored)
            if item is None:
                continue
            found.append(item)
            if limit and len(found) == limit:
                rest = len(page.items) - position - 1
                if not rest and not page.more:
                    break
                remaining = 0 if asked.selection else rest + page.remaining
                following = pages.encode(revision, stored.key.removeprefix(prefix) + "\0")
                return Many(call.kind, found, revision, following, remaining)
        if not page.more:
            return Many(call.kind, found, revision)
        start = page.items[-1].key + "\0"


def _selected(call: Call, cache: Cache, selection: Selection, stored: Stored) -> bytes | None:
    """The item, unless the selection leaves it out."""
    try:
        item = cache.form.item(stored.value, stored.revision)
    except Unreadable:
        return None
    if selection and not matcher(selection)(Entry(stored.key, stored.revision, item, cache.form)):
        return None
    return item if call.kind.conversion is None else converted(call, cache.form.raw_item(item))
