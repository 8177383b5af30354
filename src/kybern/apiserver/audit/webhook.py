"""The audit log as a webhook: lists of events are posted to the server of a kubeconfig."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from kybern.apiserver.audit.policy import VERSION
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError

SECONDS = 30.0
_HEAD = f'{{"kind":"EventList","apiVersion":"{VERSION}","metadata":{{}},"items":['.encode()


@dataclass(slots=True)
class Webhook:
    """Posts to the path that the kubeconfig's server names."""

    client: Client

    async def run(self, _tasks: asyncio.TaskGroup) -> None:
        await self.client.__aenter__()

    async def close(self) -> None:
        await self.client.__aexit__()

    async def send(self, lines: Sequence[bytes]) -> None:
        """Raises OSError when the server does not take them."""
        body = _HEAD + b",".join(line.rstrip() for line in lines) + b"]}"
        try:
            await self.client.request("POST", "", body, timeout=SECONDS)
        except ApiError as problem:
            raise OSError(problem.message) from problem
