"""Lets etcd forget its history, five minutes at a time, from one of the servers.

The key ``compact_rev_key`` holds the revision that was compacted up to last; whoever manages to replace it compacts. This
is upstream's protocol, so that both kinds of servers can share an etcd: upstream refuses to read what is older than the
key says.
"""

import asyncio
import logging

from kybern.storage.store import RevisionMismatch, Store, Unavailable

log = logging.getLogger(__name__)

KEY = "compact_rev_key"


async def run(store: Store, seconds: float) -> None:
    """For ever; nothing when ``seconds`` is 0."""
    known, seen = 0, 0
    while seconds:
        await asyncio.sleep(seconds)
        try:
            known, seen = await step(store, known, seen)
        except Unavailable as problem:
            log.warning("Cannot compact: %s", problem)


async def step(store: Store, known: int, seen: int) -> tuple[int, int]:
    """Compact up to ``seen`` unless another did; gives the key's revision and the store's, for the next time."""
    now = await store.revision()
    try:
        stored = await store.put(KEY, str(seen).encode(), known)
    except RevisionMismatch as other:
        return (other.current.revision if other.current else 0), now
    if seen:
        await store.compact(seen)
    return stored.revision, now
