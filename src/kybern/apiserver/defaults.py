"""Makes the objects that every cluster has, at the start of every server; what to make is ``bootstrap``'s."""

import asyncio
import contextlib
import logging
from collections.abc import Collection

import msgspec

from kybern.apiserver import bootstrap
from kybern.apiserver.local import Local
from kybern.apiserver.services.masters import Masters
from kybern.machinery.errors import AlreadyExists, ApiError, NotFound
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


async def make(local: Local, masters: Masters, gates: Collection[str]) -> None:
    """Until all is there; again and again while the store cannot take it, or another server writes the same."""
    pending = list(bootstrap.wanted(gates))
    while True:
        try:
            while pending:
                await _step(local, pending[0])
                pending.pop(0)
            await masters.ensure_service()
        except (Unavailable, ApiError, Stale) as problem:
            log.warning("Cannot make the default objects yet: %s", problem)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def _step(local: Local, want: bootstrap.Wanted) -> None:
    found = await local.engine.lookup.get(want.group, want.plural, want.namespace, want.name)
    write = bootstrap.step(want, found)
    if write is None:
        return
    if write.verb is bootstrap.Verb.UPDATE:
        await local.update(want.group, want.plural, write.object)
        return
    if write.verb is bootstrap.Verb.RECREATE:
        with contextlib.suppress(NotFound):
            await local.delete(want.group, want.plural, want.namespace, want.name)
    with contextlib.suppress(AlreadyExists):
        fresh = msgspec.json.decode(msgspec.json.encode(write.object))
        await local.create(want.group, want.plural, fresh)
