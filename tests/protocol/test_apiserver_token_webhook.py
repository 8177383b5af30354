"""Bearer tokens that a webhook reviews: whose they are, for whom, how long that holds, and what happens without it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.review_bed import ask, kubeconfig, metric, webhooks, who, with_status
from tests.protocol.webhook_server import Review, Webhooks

pytestmark = pytest.mark.etcd

PATH = "/reviews/tokens"
OWN = "https://kubernetes.default.svc"
USERS: dict[str, dict[str, Any]] = {
    "jane": {"username": "jane", "uid": "7", "groups": ["dev"], "extra": {"example.org/team": ["a"]}},
    "root": {"username": "root", "groups": ["system:masters"]},
}


def review(asked: Review) -> Any:
    token = asked["spec"]["token"]
    if token == "broken":
        return with_status(asked, authenticated=False, error="token is on fire")
    if token == "elsewhere":
        return with_status(asked, authenticated=True, user=USERS["jane"], audiences=["vault"])
    if token == "gone":
        return 503, b"{}"
    user = USERS.get(token.partition(".")[0])
    return with_status(asked, authenticated=user is not None, **({"user": user} if user else {}))


@pytest.fixture(scope="module")
def hooks(lab: Lab) -> Iterator[Webhooks]:
    found = webhooks(lab)
    found.on(PATH, review)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def server(lab: Lab, hooks: Webhooks, free_ports: Any) -> Server:
    file = kubeconfig(lab, hooks.url + PATH, "tokens")
    return lab.start(
        free_ports(),
        f"--authentication-token-webhook-config-file={file}",
        "--authentication-token-webhook-version=v1",
    )


def asked(hooks: Webhooks, token: str) -> list[Review]:
    return [one for one in hooks.seen[PATH] if one["spec"]["token"] == token]


def test_a_token_gives_the_user_that_the_webhook_names(server: Server, hooks: Webhooks) -> None:
    code, user = who(server, "jane.1")

    assert code == 201
    assert user == USERS["jane"] | {"groups": ["dev", "system:authenticated"]}
    (seen,) = asked(hooks, "jane.1")
    assert (seen["apiVersion"], seen["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
    assert seen["spec"]["audiences"] == [OWN]


def test_its_groups_give_rights(server: Server) -> None:
    assert ask(server, "root.1", "GET", "/api/v1/namespaces")[0] == 200
    code, refused = ask(server, "jane.2", "GET", "/api/v1/namespaces")
    assert code == 403
    assert 'User "jane" cannot list resource "namespaces"' in refused["message"]


@pytest.mark.parametrize("token", ["stranger", "broken", "elsewhere", "gone"])
def test_a_token_that_it_does_not_vouch_for_is_refused(server: Server, token: str) -> None:
    code, found = who(server, token)

    assert (code, found["reason"], found["message"]) == (401, "Unauthorized", "Unauthorized")


def test_what_it_says_is_remembered_for_review_and_request(server: Server, hooks: Webhooks) -> None:
    before = metric(server, 'authentication_token_cache_request_total{status="hit"}')
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "jane.3"}}
    for _ in range(2):
        code, found = server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
        assert code == 201
        assert found["status"]["user"]["username"] == "jane"
        assert found["status"]["audiences"] == [OWN]
    assert who(server, "jane.3")[0] == 201

    assert len(asked(hooks, "jane.3")) == 1
    assert metric(server, 'authentication_token_cache_request_total{status="hit"}') > before
    assert metric(server, "authentication_token_cache_request_duration_seconds_count") >= 3


def test_a_review_tells_what_the_webhook_said(server: Server) -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "broken"}}
    _, found = server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)

    assert found["status"] == {"error": "[invalid bearer token, token is on fire]", "user": {}}


def test_a_review_for_others_passes_their_audiences_on(server: Server, hooks: Webhooks) -> None:
    spec = {"token": "elsewhere", "audiences": ["vault", "x"]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    _, found = server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)

    assert found["status"]["audiences"] == ["vault"]
    assert ["vault", "x"] in [one["spec"]["audiences"] for one in asked(hooks, "elsewhere")]


def test_a_failure_that_passes_is_tried_again(server: Server, hooks: Webhooks) -> None:
    left = [500, 429]

    def shaky(one: Review) -> Any:
        if one["spec"]["token"] == "jane.shaky" and left:
            return left.pop(), b"{}"
        return review(one)

    hooks.answers[PATH] = shaky
    try:
        code, user = who(server, "jane.shaky")
    finally:
        hooks.answers[PATH] = review
    assert (code, user["username"]) == (201, "jane")
    assert len(asked(hooks, "jane.shaky")) == 3


def test_the_old_version_is_the_default(lab: Lab, hooks: Webhooks, free_ports: Any) -> None:
    file = kubeconfig(lab, hooks.url + PATH, "old")
    server = lab.start(free_ports(), f"--authentication-token-webhook-config-file={file}")

    assert who(server, "jane.old")[0] == 201
    (seen,) = asked(hooks, "jane.old")
    assert seen["apiVersion"] == "authentication.k8s.io/v1beta1"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (
            (
                "--authentication-token-webhook-config-file={at}/ca.key",
                "--authentication-token-webhook-version=v2",
            ),
            'unsupported authentication webhook version "v2", supported versions are "v1", "v1beta1"',
        ),
        (("--authentication-token-webhook-config-file=/nowhere",), "cannot read kubeconfig /nowhere"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(
    lab: Lab, free_ports: Any, flags: tuple[str, ...], why: str
) -> None:
    assert why in lab.refused(free_ports(), *(flag.format(at=lab.directory) for flag in flags))
