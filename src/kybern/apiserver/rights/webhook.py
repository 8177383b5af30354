"""An authorizer that asks a webhook: a SubjectAccessReview is posted, and what it answers is kept for a while.

``authorize`` decides by what is known. When nothing is, it raises ``Unsettled``, and whoever wants the decision gets the
answer and asks again (``auth.unsettled``). Upstream: ``apiserver/plugin/pkg/authorizer/webhook``.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from kybern.apiserver.rights import conditions, metrics
from kybern.apiserver.rights.configuration import WEBHOOK, Wanted, Webhook
from kybern.apiserver.rights.review import decision_of, large, review_of, spec_of
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.unsettled import Unsettled, answer
from kybern.client.kubeconfig import in_cluster, load
from kybern.client.posting import Posting, Unanswered
from kybern.machinery.kind import Raw

log = logging.getLogger(__name__)

MOST = 8192
_NO_OPINION = Decision(Verdict.NO_OPINION)


@dataclass(slots=True, eq=False)
class WebhookAuthorizer:
    """One webhook."""

    name: str
    setting: Webhook
    posting: Posting
    clock: Callable[[], float] = time.monotonic
    _kept: dict[bytes, tuple[Decision, float]] = field(default_factory=dict, init=False)

    def authorize(self, asked: Attributes) -> Decision:
        """Raises Unsettled when the webhook has to be asked first."""
        spec = spec_of(asked)
        key = msgspec.json.encode(spec)
        place = (self, key)
        if (told := answer(place)) is not None:
            return told
        if self.setting.conditions:
            try:
                if not self._meant(spec):
                    return _NO_OPINION
            except conditions.Unclear as problem:
                return self._failed(str(problem))
        kept = self._kept.get(key)
        if kept is not None:
            if kept[1] > self.clock():
                return kept[0]
            del self._kept[key]
        raise Unsettled(place, partial(self._ask, asked, spec, key))

    def _meant(self, spec: Raw) -> bool:
        labels = (WEBHOOK, self.name)
        began = time.perf_counter()
        try:
            meant = conditions.hold(self.setting.conditions, spec)
        except conditions.Unclear:
            metrics.condition_errors.labels(*labels).inc()
            raise
        finally:
            metrics.condition_seconds.labels(*labels).observe(time.perf_counter() - began)
        if not meant:
            metrics.condition_exclusions.labels(*labels).inc()
        return meant

    def _failed(self, error: str) -> Decision:
        verdict = Verdict.DENY if self.setting.denies else Verdict.NO_OPINION
        return Decision(verdict, error=error)

    async def _ask(self, asked: Attributes, spec: Raw, key: bytes) -> Decision:
        try:
            found = await self.posting.post(review_of(spec, self.setting.version), self._tried)
        except Unanswered as problem:
            log.warning("Failed to make webhook authorizer request: %s", problem)
            if not self.setting.denies:
                metrics.opened.labels(self.name, problem.result).inc()
            return self._failed(str(problem))
        status = found.get("status") or {}
        decision = decision_of(status)
        seconds = self.setting.authorized if status.get("allowed") is True else self.setting.unauthorized
        if seconds > 0 and not large(asked):
            while len(self._kept) >= MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (decision, self.clock() + seconds)
        return decision

    def _tried(self, result: str, seconds: float) -> None:
        metrics.evaluations.labels(self.name, result).inc()
        metrics.duration.labels(self.name, result).observe(seconds)


def webhook_authorizer(wanted: Wanted) -> WebhookAuthorizer:
    """Raises OSError when its kubeconfig cannot be used."""
    assert wanted.webhook is not None  # of its type
    path = wanted.webhook.kubeconfig
    config = load(path) if path else in_cluster()
    return WebhookAuthorizer(wanted.name, wanted.webhook, Posting(config, wanted.webhook.timeout))
