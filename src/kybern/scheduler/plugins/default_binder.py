"""Bind a pod by the API server's own verb for it."""

from kybern.scheduler.framework import Attempt, Plugin
from kybern.scheduler.handle import Handle


async def bind(attempt: Attempt, node: str, handle: Handle) -> str:
    return await handle.binder.bind(attempt.facts.pod, node)


PLUGIN = Plugin("DefaultBinder", bind=bind)
