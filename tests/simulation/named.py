"""Clients that say who writes, for the detector of fights."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, override

from kybern.client.verbs import JSON, PATIENCE, Verbs
from tests.simulation.fights import WRITER


class Named(Verbs):
    """The client of one writer."""

    def __init__(self, client: Verbs, name: str) -> None:
        self._client = client
        self._name = name

    @override
    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout: float = PATIENCE,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        token = WRITER.set(self._name)
        try:
            return await self._client.request(
                method, path, body, timeout, content_type=content_type, accept=accept
            )
        finally:
            WRITER.reset(token)

    @override
    def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._client.stream(path, accept=accept, silence=silence)
