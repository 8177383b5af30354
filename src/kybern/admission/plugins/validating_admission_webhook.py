"""Asks the cluster's validating webhooks about a write, all at once: any of them may refuse it."""

import asyncio
from functools import partial

from kybern.admission.framework import Plugin, Request
from kybern.admission.matching import is_exempt
from kybern.admission.seen import View, undisguised, view
from kybern.admission.selecting import Selecting
from kybern.admission.webhooks.call import Turn, call, meant
from kybern.admission.webhooks.webhook import Webhook
from kybern.auth.unsettled import settled
from kybern.machinery.errors import ApiError


async def validate(request: Request) -> None:
    configured = request.configured
    if configured is None:
        return
    await configured.ready(request)
    if not configured.validating_webhooks or is_exempt(request.kind):
        return
    asked = await _asked(undisguised(request), configured.validating_webhooks)
    refusals = [refusal for refusal in await _all(asked) if refusal is not None]
    if refusals:
        raise refusals[0]


async def _asked(request: Request, hooks: tuple[Webhook, ...]) -> list[tuple[Webhook, View]]:
    """Those that the write is for, with the write as they see it."""
    selecting = Selecting(request)
    views: dict[str, View] = {}
    found: list[tuple[Webhook, View]] = []
    for hook in hooks:
        kind = await selecting.kind(hook.criteria)
        if kind is None:
            continue
        seen = views.get(kind.api_version)
        if seen is None:
            seen = views[kind.api_version] = await view(request, kind)
        if await settled(partial(meant, hook, seen)):
            found.append((hook, seen))
    return found


async def _all(asked: list[tuple[Webhook, View]]) -> list[ApiError | None]:
    """All refusals, in the order in which they came: the first one is told."""
    came: list[ApiError | None] = []

    async def one(hook: Webhook, seen: View, index: int) -> None:
        try:
            await call(hook, seen, Turn("validating", 0, index))
        except ApiError as refusal:
            came.append(refusal)

    if len(asked) == 1:
        await one(*asked[0], 0)
        return came
    async with asyncio.TaskGroup() as tasks:
        for index, (hook, seen) in enumerate(asked):
            tasks.create_task(one(hook, seen, index))
    return came


PLUGIN = Plugin("ValidatingAdmissionWebhook", validate=validate, connects=True)
