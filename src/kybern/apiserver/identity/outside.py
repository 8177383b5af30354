"""Everybody outside of the cluster who says whose a token is, as the flags name them, in upstream's order of asking."""

import asyncio
from collections.abc import Sequence

from kybern.apiserver.authentication import Ask, Authenticator
from kybern.apiserver.identity.issuers import Issuers
from kybern.apiserver.identity.webhook import webhook
from kybern.daemon.flags import Values


class Outside:
    """``issuers`` are those of this server's own tokens. Raises Fatal for flags and files that cannot be used."""

    def __init__(self, values: Values, audiences: tuple[str, ...], issuers: Sequence[str]) -> None:
        self._issuers = Issuers(values, audiences, issuers)
        self._webhook = webhook(values, audiences)

    @property
    def asks(self) -> Sequence[Ask]:
        issuers: tuple[Ask, ...] = (self._issuers.ask,) if self._issuers else ()
        return (*issuers, self._webhook[1]) if self._webhook else issuers

    async def start(self, authenticator: Authenticator, tasks: asyncio.TaskGroup) -> None:
        await self._issuers.start(authenticator, tasks)
        if self._webhook:
            await self._webhook[0].start()

    async def close(self) -> None:
        await self._issuers.close()
        if self._webhook:
            posting, remembered = self._webhook
            await remembered.close()
            await posting.close()
