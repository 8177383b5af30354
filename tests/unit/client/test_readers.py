"""Who may read a daemon's pages by a token."""

from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from kybern.api.authentication_v1 import TokenReview, TokenReviewStatus, UserInfo
from kybern.api.authorization_v1 import SubjectAccessReview, SubjectAccessReviewStatus
from kybern.client.readers import REMEMBERED, Readers
from kybern.client.verbs import Verbs
from kybern.daemon.health import application
from kybern.daemon.serving import known_clients
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import replace

PROMETHEUS = UserInfo(username="prometheus", groups=("system:serviceaccounts",), uid="u1")


class Api:
    """Knows one token, whose owner may get /metrics."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.away = False

    async def create(self, wanted: Any) -> Any:
        if self.away:
            raise ServiceUnavailable("cannot reach the API server")
        self.asked.append(wanted.spec)
        if isinstance(wanted, TokenReview):
            known = wanted.spec.token == "known"
            status = TokenReviewStatus(authenticated=known, user=PROMETHEUS if known else None)
            return replace(wanted, status=status)
        assert isinstance(wanted, SubjectAccessReview)
        what = wanted.spec.non_resource_attributes
        assert what is not None
        may = (wanted.spec.user, what.verb, what.path) == ("prometheus", "get", "/metrics")
        return replace(wanted, status=SubjectAccessReviewStatus(allowed=may))


@pytest.mark.parametrize(
    ("header", "path", "code"),
    [
        ("", "/metrics", 401),
        ("Bearer known", "/metrics", 200),
        ("bearer known", "/metrics", 200),
        ("Bearer known", "/flagz", 403),
        ("Bearer unknown", "/metrics", 401),
        ("Basic known", "/metrics", 401),
        ("Bearer", "/metrics", 401),
        ("Bearer unknown", "/healthz", 200),
    ],
)
async def test_the_api_server_says_who_may(header: str, path: str, code: int) -> None:
    app = application({}, known_clients(("/healthz",), Readers(cast("Verbs", Api())).may))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(path, headers={"Authorization": header} if header else {})

    assert answer.status == code


async def test_an_api_server_that_is_away_lets_nobody_in_and_is_asked_again() -> None:
    api = Api()
    readers = Readers(cast("Verbs", api))
    api.away = True
    assert await readers.may("known", "/metrics") == 500

    api.away = False
    assert await readers.may("known", "/metrics") == 200


async def test_an_answer_is_believed_for_a_short_while() -> None:
    api, now = Api(), 0.0
    readers = Readers(cast("Verbs", api), lambda: now)
    for _ in range(3):
        assert await readers.may("known", "/metrics") == 200
    assert len(api.asked) == 2

    now = REMEMBERED
    assert await readers.may("known", "/metrics") == 200
    assert len(api.asked) == 4
