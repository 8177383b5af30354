"""Everybody outside of the cluster who says whose a token is, as the flags name them, in upstream's order of asking."""

import asyncio
from collections.abc import Sequence

from kybern.apiserver.authentication import Ask
from kybern.apiserver.identity.webhook import webhook
from kybern.daemon.flags import Values


class Outside:
    """Raises Fatal for flags and files that cannot be used."""

    def __init__(self, values: Values, audiences: tuple[str, ...]) -> None:
        self._webhook = webhook(values, audiences)

    @property
    def asks(self) -> Sequence[Ask]:
        return (self._webhook[1],) if self._webhook else ()

    async def start(self, _tasks: asyncio.TaskGroup) -> None:
        if self._webhook:
            await self._webhook[0].start()

    async def close(self) -> None:
        if self._webhook:
            posting, remembered = self._webhook
            await remembered.close()
            await posting.close()
