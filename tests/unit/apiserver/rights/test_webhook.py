"""Webhooks that decide what is allowed: what they are asked, what is kept, and what happens when they fail."""

from typing import Any, cast

import pytest

from kybern.apiserver.authorization import Authorization, Authorizer
from kybern.apiserver.rights import conditions
from kybern.apiserver.rights.conditions import condition
from kybern.apiserver.rights.configuration import Webhook
from kybern.apiserver.rights.review import decision_of, review_of, spec_of
from kybern.apiserver.rights.webhook import WebhookAuthorizer
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.unsettled import Unsettled, settled
from kybern.auth.user import User
from kybern.client.posting import Posting, Unanswered
from kybern.machinery.errors import Forbidden, InternalError
from tests.unit.apiserver.test_authentication import Clock

JANE = User("jane", ("dev",), "7", {"team": ("a",)})
PODS = Attributes(
    JANE, "list", "", "v1", "pods", namespace="x",
    field_selector=(("spec.nodeName", "=", "n1"), ("status.phase", "!=", "Failed")), label_selector="a in (b,c),!d",
)  # fmt: skip


class Server:
    """Answers reviews with a status, or fails, and keeps what it was asked."""

    def __init__(self, *statuses: dict[str, Any] | Unanswered) -> None:
        self.statuses = list(statuses)
        self.asked: list[Any] = []

    async def post(self, review: Any, tried: Any) -> Any:
        self.asked.append(review)
        status = self.statuses.pop(0)
        tried("success", 0.0)
        if isinstance(status, Unanswered):
            raise status
        return {**review, "status": status}


def authorizer(server: Server, clock: Clock | None = None, **setting: Any) -> WebhookAuthorizer:
    return WebhookAuthorizer("w", Webhook("/k", "v1", **setting), cast("Posting", server), clock or Clock())


async def decided(webhook: WebhookAuthorizer, asked: Attributes = PODS) -> Decision:
    return await settled(lambda: webhook.authorize(asked))


def test_a_question_is_a_review_with_what_narrows_it_down() -> None:
    assert spec_of(PODS) == {
        "resourceAttributes": {
            "namespace": "x",
            "verb": "list",
            "version": "v1",
            "resource": "pods",
            "fieldSelector": {
                "requirements": [
                    {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
                    {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
                ]
            },
            "labelSelector": {
                "requirements": [
                    {"key": "a", "operator": "In", "values": ["b", "c"]},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
            },
        },
        "user": "jane",
        "groups": ["dev"],
        "extra": {"team": ["a"]},
        "uid": "7",
    }
    assert spec_of(Attributes(User("x"), "get", path="/healthz")) == {
        "nonResourceAttributes": {"path": "/healthz", "verb": "get"},
        "user": "x",
    }


def test_the_old_version_calls_groups_by_another_name() -> None:
    spec = review_of(spec_of(PODS), "v1beta1")["spec"]

    assert spec["group"] == ["dev"]
    assert "groups" not in spec


@pytest.mark.parametrize(
    ("status", "decision"),
    [
        ({"allowed": True, "reason": "ok"}, Decision(Verdict.ALLOW, "ok")),
        ({"denied": True, "reason": "no"}, Decision(Verdict.DENY, "no")),
        ({"allowed": False, "reason": "?"}, Decision(Verdict.NO_OPINION, "?")),
        (
            {"allowed": True, "denied": True},
            Decision(Verdict.DENY, "", "webhook subject access review returned both allow and deny response"),
        ),
    ],
)
def test_a_status_allows_denies_or_leaves_it_open(status: Any, decision: Decision) -> None:
    assert decision_of(status) == decision


async def test_answers_are_kept_for_their_time() -> None:
    clock = Clock()
    server = Server({"allowed": True}, {"allowed": False}, {"denied": True})
    webhook = authorizer(server, clock)
    for _ in range(2):
        assert (await decided(webhook)).verdict is Verdict.ALLOW
    clock.now += 301
    for _ in range(2):
        assert (await decided(webhook)).verdict is Verdict.NO_OPINION
    clock.now += 31
    assert (await decided(webhook)).verdict is Verdict.DENY
    assert len(server.asked) == 3


async def test_a_question_that_is_too_large_is_not_kept_nor_is_one_with_no_time() -> None:
    large = PODS._replace(name="n" * 10_000)
    server = Server(*[{"allowed": True}] * 4)
    for webhook, asked in ((authorizer(server), large), (authorizer(server, authorized=0.0), PODS)):
        for _ in range(2):
            assert (await decided(webhook, asked)).verdict is Verdict.ALLOW
    assert len(server.asked) == 4


async def test_a_failure_leaves_it_open_or_denies_and_is_not_kept() -> None:
    failure = Unanswered("down")
    for denies, verdict in ((False, Verdict.NO_OPINION), (True, Verdict.DENY)):
        server = Server(failure, failure)
        webhook = authorizer(server, denies=denies)
        for _ in range(2):
            assert await decided(webhook) == Decision(verdict, error="down")
        assert len(server.asked) == 2


async def test_conditions_keep_questions_away() -> None:
    server = Server({"allowed": True})
    webhook = authorizer(server, conditions=(condition("request.resourceAttributes.namespace == 'y'"),))

    assert await decided(webhook) == Decision(Verdict.NO_OPINION)
    assert (await decided(webhook, PODS._replace(namespace="y"))).verdict is Verdict.ALLOW
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("sources", "held"),
    [
        (("request.user == 'jane'", "'dev' in request.groups", "request.extra['team'] == ['a']"), True),
        (("has(request.resourceAttributes)", "request.resourceAttributes.subresource == ''"), True),
        (("has(request.nonResourceAttributes)",), False),
        (("request.nonResourceAttributes.path == '/'", "false"), False),
        (("request.nonResourceAttributes.path == '/'", "true"), None),
        (
            ("request.resourceAttributes.fieldSelector.requirements.exists(r, r.key == 'spec.nodeName')",),
            True,
        ),
    ],
)
def test_conditions_see_the_review(sources: tuple[str, ...], held: bool | None) -> None:
    found = tuple(condition(source) for source in sources)
    if held is None:
        with pytest.raises(conditions.Unclear, match="cel evaluation error: expression"):
            conditions.hold(found, spec_of(PODS))
    else:
        assert conditions.hold(found, spec_of(PODS)) is held


async def test_conditions_that_are_unclear_count_as_a_failure() -> None:
    server = Server()
    unclear = condition("request.nonResourceAttributes.path == '/'")
    for denies, verdict in ((False, Verdict.NO_OPINION), (True, Verdict.DENY)):
        decision = await decided(authorizer(server, denies=denies, conditions=(unclear,)))
        assert decision.verdict is verdict
        assert "no such key" in decision.error


async def test_the_chain_asks_on_and_tells_errors_when_nobody_decides() -> None:
    chain = Authorization()
    server = Server(
        Unanswered("down"), {"allowed": False, "reason": "not mine"}, {"denied": True, "reason": "no"}
    )
    webhook = authorizer(server, unauthorized=0.0)
    chain.use((Authorizer("RBAC", "rbac"), Authorizer("Webhook", "w", webhook.authorize)))

    with pytest.raises(Unsettled):
        chain.allow(PODS)
    with pytest.raises(InternalError, match="down"):
        await settled(lambda: chain.check(PODS))
    with pytest.raises(Forbidden, match="not mine"):
        await settled(lambda: chain.check(PODS))
    with pytest.raises(Forbidden, match="no"):
        await settled(lambda: chain.check(PODS))
    assert chain.allow(PODS._replace(user=User("root", ("system:masters",)))).verdict is Verdict.ALLOW
    assert len(server.asked) == 3
