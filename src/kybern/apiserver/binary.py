"""Answers and watch events as protobuf.

Objects of caches are there as messages already, or are made so once; the rest is made from JSON. A list is joined from
its items' messages, as it is in JSON.
"""

import asyncio
from collections.abc import Iterable, Sequence

from kybern.apiserver.answer import Answer, Many, One, Plain
from kybern.apiserver.engine import Call
from kybern.apiserver.render import list_metadata
from kybern.machinery import protobuf, protowrite
from kybern.storage.cache import Cache
from kybern.storage.entry import Entry
from kybern.storage.value import Form, decoded

encode, frame = protobuf.encode, protobuf.frame
PAUSE_EVERY = 64
_ITEM = b"\x12"
_METADATA = "k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta"


async def body(call: Call, answer: Answer) -> bytes:
    """An answer as it is, not as metadata."""
    if isinstance(answer, Plain):
        return protobuf.encode(answer.raw)
    if isinstance(answer, One):
        return _one(call, answer)
    if answer.cache is not None:
        await warm(answer.cache, answer.entries)
    parts = [b"\x0a", *_sized(protowrite.writer(_METADATA)(list_metadata(answer)))]
    for message in _messages(answer):
        parts.append(_ITEM)
        parts += _sized(message)
    return protobuf.envelope(answer.kind.api_version, answer.kind.listed, b"".join(parts))


def _sized(message: bytes) -> tuple[bytes, bytes]:
    return protowrite.size(message), message


def _messages(answer: Many) -> Iterable[bytes]:
    if answer.cache is not None:
        return map(answer.cache.message, answer.entries)
    return map(Form(answer.kind).message, answer.items)


def _one(call: Call, answer: One) -> bytes:
    """An object alone. Its message is that of its cache entry, or will be once the cache hears of it."""
    form, kind = call.engine.form(answer.kind), answer.kind
    item = b"{" + answer.body[len(form.start) :]
    cache = call.engine.caches.known(kind) if kind.conversion is None else None
    entry = cache.get(call.key) if cache is not None else None
    if cache is not None and entry is not None and entry.item == item:
        return form.enveloped(cache.message(entry))
    raw = decoded(answer.body)
    message = form.message(raw)
    if cache is not None:
        metadata = raw["metadata"]
        cache.messages.expect(kind.key(metadata.get("namespace", ""), metadata["name"]), item, message)
    return form.enveloped(message)


async def warm(cache: Cache, entries: Sequence[Entry]) -> None:
    """Make the messages of many entries with pauses, so that others get their turn meanwhile."""
    count = 0
    for entry in entries:
        if entry.message is None:
            cache.message(entry)
            count += 1
            if count % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
