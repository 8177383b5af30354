"""Clients that answer requests as one value, and clients in front of others: what fakes and troubles are made of."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, override

import msgspec

from kybern.client.verbs import JSON, PATIENCE, Verbs


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``timeout`` in seconds; ``body`` is bytes, None, or what becomes JSON."""

    method: str
    path: str
    body: Any = None
    timeout: float = PATIENCE
    content_type: str = JSON
    accept: str = JSON

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def sent(self) -> bytes:
        """The body as it goes over the line; empty for none."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


class Answering(Verbs):
    """A client whose requests come to ``answer``."""

    @abstractmethod
    async def answer(self, asked: Asked) -> bytes: ...

    @override
    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        timeout: float = PATIENCE,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        return await self.answer(Asked(method, path, body, timeout, content_type, accept))


class Through(Answering):
    """A client in front of ``api`` that changes nothing; others say what they do beside."""

    def __init__(self, api: Verbs) -> None:
        self.api = api

    @override
    async def answer(self, asked: Asked) -> bytes:
        return await self.api.request(
            asked.method,
            asked.path,
            asked.body,
            asked.timeout,
            content_type=asked.content_type,
            accept=asked.accept,
        )

    @override
    def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.api.stream(path, accept=accept, silence=silence)
