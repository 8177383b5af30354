"""One call of one webhook, and what comes of it: a verdict, a refusal, or a failure that its policy decides about."""

import logging
import time
from dataclasses import dataclass

from kybern.admission import metrics
from kybern.admission.framework import refused
from kybern.admission.policies import conditions
from kybern.admission.policies.expression import visible
from kybern.admission.seen import View
from kybern.admission.webhooks import review
from kybern.admission.webhooks.review import BadPatch, BadReview, Verdict
from kybern.admission.webhooks.target import CallFailed, Unusable
from kybern.admission.webhooks.webhook import Webhook
from kybern.machinery.errors import ApiError, BadRequest, InternalError

log = logging.getLogger(__name__)


class Failed(Exception):
    """The webhook could not be asked, or answered nonsense."""

    def __init__(self, webhook: str, why: str, code: int) -> None:
        super().__init__(f'failed calling webhook "{webhook}": {why}')
        self.code = code


@dataclass(frozen=True, slots=True)
class Turn:
    """Where in the way of a write a call is. ``kind``: "admit" or "validating"."""

    kind: str
    round: int
    index: int

    @property
    def place(self) -> str:
        return f"round_{self.round}_index_{self.index}"


def meant(hook: Webhook, seen: View) -> bool:
    """Whether its match conditions want a webhook to be called. Raises Forbidden when they are unclear."""
    if not hook.conditions:
        return True
    try:
        return conditions.hold(hook.conditions, visible(seen, None, None))
    except conditions.Unclear as problem:
        if not hook.closed:
            return False
        log.warning("Failed evaluating match conditions, failing closed %s: %s", hook.name, problem)
        raise refused(seen.request, str(problem)) from problem


async def call(hook: Webhook, seen: View, turn: Turn) -> Verdict | None:
    """What the webhook says; None when it could not be called and that is no matter. Raises ApiError to refuse."""
    request, began = seen.request, time.monotonic()
    operation = request.operation

    def told(code: int, *, rejected: bool) -> None:
        metrics.called(hook.name, turn.kind, operation, code, time.monotonic() - began, rejected=rejected)

    try:
        verdict = await _asked(hook, seen, mutating=turn.kind == "admit")
    except Failed as failure:
        told(failure.code, rejected=hook.closed)
        if not hook.closed:
            _opened(hook, seen, turn, failure)
            return None
        metrics.rejected(hook.name, turn.kind, operation, "calling_webhook_error", failure.code)
        log.warning("Failed calling webhook, failing closed %s: %s", hook.name, failure)
        raise InternalError.of(str(failure)) from failure
    except ApiError:
        told(0, rejected=True)
        metrics.rejected(hook.name, turn.kind, operation, "apiserver_internal_error", 0)
        raise
    _note(hook, seen, verdict)
    if verdict.allowed:
        told(200, rejected=False)
        return verdict
    refusal = review.refusal(hook.name, verdict.status)
    told(refusal.code, rejected=True)
    metrics.rejected(hook.name, turn.kind, operation, "no_error", refusal.code)
    raise refusal


def _opened(hook: Webhook, seen: View, turn: Turn, failure: Failed) -> None:
    log.warning("Failed calling webhook, failing open %s: %s", hook.name, failure)
    metrics.opened(hook.name, turn.kind)
    prefix = "mutation" if turn.kind == "admit" else "validating"
    seen.request.annotations[f"failed-open.{prefix}.webhook.admission.k8s.io/{turn.place}"] = hook.name


def _note(hook: Webhook, seen: View, verdict: Verdict) -> None:
    for key, value in verdict.annotations.items():
        seen.request.annotations[f"{hook.name}/{key}"] = value
    for text in verdict.warnings:
        if text not in seen.request.warnings:
            seen.request.warnings.append(text)


async def _asked(hook: Webhook, seen: View, *, mutating: bool) -> Verdict:
    request = seen.request
    if request.dry_run and not hook.dry:
        raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
    configured = request.configured
    assert configured is not None  # webhooks are known from there
    uid = configured.uid()
    try:
        version = review.version_of(hook.versions)
    except BadReview as problem:
        raise Failed(hook.name, f"could not create admission objects: {problem}", 400) from problem
    try:
        data = await configured.caller.post(hook.target, review.question(seen, version, uid), hook.seconds)
    except Unusable as problem:
        raise Failed(hook.name, f"could not get REST client: {problem}", 500) from problem
    except CallFailed as problem:
        raise Failed(hook.name, f"failed to call webhook: {problem}", problem.code) from problem
    try:
        return review.answer(data, version, uid, mutating=mutating)
    except BadPatch as problem:
        raise Failed(
            hook.name, f"received undecodable patch in webhook response: {problem}", 503
        ) from problem
    except BadReview as problem:
        raise Failed(hook.name, f"received invalid webhook response: {problem}", 503) from problem
