"""Notes when tokens out of Secrets are used: what nobody uses for a year may go.

A Secret bears the day of its last use as a label, written at the first use of a day. The config map of ``TRACKING`` says
since when that is done, so that nothing is taken for unused that nobody looked at; every server makes it where it is not,
and mends a date that cannot be read. It is looked at as often as upstream may make it anew.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import date

from prometheus_client import Counter

from kybern.apiserver.local import Local
from kybern.auth import legacy_labels, legacy_tokens
from kybern.auth.legacy_labels import TRACKING
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.kind import Raw
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

_EVERY_SECONDS = 1800.0
_RETRY_SECONDS = 1.0
_SINCE = "since"
_COUNTERS = {
    "auto": Counter(
        "serviceaccount_legacy_auto_token_uses_total", "Uses of tokens in Secrets that a controller made."
    ),
    "manual": Counter(
        "serviceaccount_legacy_manual_token_uses_total", "Uses of tokens in Secrets that somebody made."
    ),
    "invalid": Counter(
        "serviceaccount_invalid_legacy_auto_token_uses_total", "Uses of tokens that are marked as invalid."
    ),
}


def mended(found: Raw | None, today: date) -> Raw | None:
    """The config map as it should be; None when it is. Pure."""
    namespace, name = TRACKING
    if found is None:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": name},
            "data": {_SINCE: today.isoformat()},
        }
    data = found.get("data") or {}
    if legacy_labels.is_date(data.get(_SINCE, "")):
        return None
    return {**found, "data": {**data, _SINCE: today.isoformat()}}


class Tracking:
    """``used`` is told of every use that is looked into; see ``authentication.Tokens``."""

    def __init__(self, local: Local, clock: Callable[[], float]) -> None:
        self._local = local
        self._clock = clock

    async def used(self, secret: Raw, sort: str) -> None:
        """Count a use, and write its day. A use that cannot be written is one all the same: the token is good."""
        _COUNTERS[sort].inc()
        today = legacy_tokens.day(self._clock())
        if legacy_tokens.use_is_noted(secret, today):
            return
        namespace, name = secret["metadata"]["namespace"], secret["metadata"]["name"]
        try:
            await self._note(secret, today)
        except NotFound:
            log.debug("Secret %s/%s is gone", namespace, name)
        except (ApiError, Unavailable, Stale) as problem:
            log.warning("Cannot note the use of secret %s/%s: %s", namespace, name, problem)

    async def _note(self, secret: Raw, today: date) -> None:
        """What is known of the Secret may be old: then it is read, and written once more."""
        try:
            await self._local.update("", "secrets", legacy_tokens.with_use(secret, today))
        except Conflict:
            metadata = secret["metadata"]
            found = await self._local.get("", "secrets", metadata["namespace"], metadata["name"])
            if found is not None and not legacy_tokens.use_is_noted(found, today):
                await self._local.update("", "secrets", legacy_tokens.with_use(found, today))

    async def run(self) -> None:
        """For ever."""
        while True:
            wait = _EVERY_SECONDS
            try:
                await self.look()
            except (ApiError, Unavailable, Stale) as problem:
                log.warning("Cannot say since when uses of tokens are noted: %s", problem)
                wait = _RETRY_SECONDS
            await asyncio.sleep(wait)

    async def look(self) -> None:
        found = await self._local.get("", "configmaps", *TRACKING)
        wanted = mended(found, legacy_tokens.day(self._clock()))
        if wanted is None:
            return
        if found is None:
            with contextlib.suppress(AlreadyExists):
                await self._local.create("", "configmaps", wanted)
            return
        with contextlib.suppress(Conflict, NotFound):
            await self._local.update("", "configmaps", wanted)
