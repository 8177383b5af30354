"""Lets the cluster's mutating webhooks change a write, one after the other, by JSON patches.

What a webhook makes is decoded and given defaults like a body. A webhook with reinvocationPolicy IfNeeded sees the object
once more when somebody changed it after its turn.
"""

from functools import partial

import msgspec

from kybern.admission.framework import Again, Plugin, Request
from kybern.admission.matching import is_exempt
from kybern.admission.rewriting import put, rewritten
from kybern.admission.seen import View, undisguised, view
from kybern.admission.selecting import Selecting
from kybern.admission.webhooks.call import Failed, Turn, call, meant
from kybern.admission.webhooks.review import JSON_PATCH, Verdict
from kybern.admission.webhooks.webhook import Webhook
from kybern.auth.unsettled import settled
from kybern.machinery.errors import ApiError, InternalError
from kybern.machinery.patch.json import json_patch

NAME = "MutatingAdmissionWebhook"


async def mutate(request: Request) -> None:
    configured = request.configured
    if configured is None:
        return
    await configured.ready(request)
    if not configured.mutating_webhooks or is_exempt(request.kind):
        return
    again = request.again = request.again or Again()
    if again.round and again.last.get(NAME) != request.new:
        again.changed(NAME)
    asked = undisguised(request)
    await _dispatch(asked, again, configured.mutating_webhooks)
    if asked is not request and request.disguise and request.new is not None and asked.new is not None:
        request.disguise.place(request.new, asked.new)
    if again.called.get(NAME):
        # Only who may be called again asks whether the object is still what it left.
        again.last[NAME] = msgspec.json.decode(msgspec.json.encode(request.new))


async def _dispatch(request: Request, again: Again, hooks: tuple[Webhook, ...]) -> None:
    selecting = Selecting(request)
    for index, hook in enumerate(hooks):
        kind = await selecting.kind(hook.criteria)
        if kind is None:
            continue
        seen = await view(request, kind)
        if not await settled(partial(meant, hook, seen)) or again.skips(NAME, hook.uid):
            continue
        verdict = await call(hook, seen, Turn("admit", again.round, index))
        changed = verdict is not None and await _patched(hook, seen, verdict)
        _annotate(request, hook, again.round, index, verdict if changed else None)
        if changed:
            again.changed(NAME)
        if hook.again:
            again.called.setdefault(NAME, set()).add(hook.uid)


async def _patched(hook: Webhook, seen: View, verdict: Verdict) -> bool:
    """Whether the object is another one now."""
    if not verdict.patch:
        return False
    if seen.new is None:
        raise InternalError.of(
            f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation'
        )
    if verdict.patch_type != JSON_PATCH:
        failure = Failed(hook.name, f'unsupported patch type "{verdict.patch_type}"', 400)
        if hook.closed:
            raise InternalError.of(str(failure))
        return False
    try:
        made = rewritten(seen, json_patch(seen.new, verdict.patch))
    except ApiError as problem:
        raise InternalError.of(problem.message) from problem
    return await put(seen, made)


def _annotate(request: Request, hook: Webhook, round_: int, index: int, verdict: Verdict | None) -> None:
    """For the audit log: who changed the object, and how."""
    of = {"configuration": hook.configuration, "webhook": hook.name}
    place = f"round_{round_}_index_{index}"
    said = msgspec.json.encode({**of, "mutated": verdict is not None}).decode()
    request.annotations[f"mutation.webhook.admission.k8s.io/{place}"] = said
    if verdict is not None:
        patch = {**of, "patch": verdict.patch, "patchType": JSON_PATCH}
        key = f"patch.webhook.admission.k8s.io/{place}"
        request.annotations[key] = msgspec.json.encode(patch).decode()


PLUGIN = Plugin(NAME, mutate=mutate, connects=True)
