"""Read one object. Without a resourceVersion from the store; with one from the cache, once it is that new."""

from kybern.apiserver import problems
from kybern.apiserver.answer import One
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import current
from kybern.apiserver.options import version
from kybern.storage.cache import Stale


async def get(call: Call) -> One:
    asked = call.query.get("resourceVersion", "")
    if asked:
        return await _cached(call, version(asked))
    stored = await current.fetched(call)
    return One(call.kind, current.served(call, stored.value, stored.revision))


async def _cached(call: Call, wanted: int) -> One:
    cache = call.engine.cache(call.kind)
    try:
        await cache.reached(wanted)
    except Stale as stale:
        raise problems.too_new(wanted, stale.revision) from stale
    entry = cache.get(call.key)
    if entry is None:
        raise problems.not_found(call.kind, call.name)
    if call.kind.conversion is None:
        return One(call.kind, cache.form.full(entry.item))
    raw = call.kind.conversion.from_stored(cache.form.raw_item(entry.item))
    return One(call.kind, current.whole(call.engine.form(call.kind), raw))
