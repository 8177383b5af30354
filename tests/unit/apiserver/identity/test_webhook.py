"""What a webhook's review of a token comes to, and how long it is remembered."""

import asyncio
from typing import Any

import pytest

from kybern.apiserver.identity.remembered import Known, Remembered
from kybern.apiserver.identity.webhook import answer, question
from kybern.auth.tokens import InvalidToken
from kybern.auth.user import User
from tests.unit.apiserver.test_authentication import ISSUER, Clock, accounts, token, tokens

JANE = User("jane", ("dev",), "7", {"example.org/team": ("a", "b")})
STATUS = {
    "authenticated": True,
    "user": {"username": "jane", "uid": "7", "groups": ["dev"], "extra": {"example.org/team": ["a", "b"]}},
}


def test_the_review_has_the_token_and_the_wanted_audiences() -> None:
    assert question("t", ("api",), "v1") == {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {},
        "spec": {"token": "t", "audiences": ["api"]},
    }


@pytest.mark.parametrize(
    ("status", "wanted", "known"),
    [
        (STATUS, ("api",), (JANE, ("api",))),
        (STATUS, ("other",), None),
        (STATUS | {"audiences": ["other", "x"]}, ("api", "other"), (JANE, ("other",))),
        (STATUS | {"audiences": ["other"]}, ("api",), None),
        ({"authenticated": False}, ("api",), None),
        ({}, ("api",), None),
    ],
)
def test_a_token_is_good_for_the_audiences_that_are_wanted_and_given(
    status: Any, wanted: tuple[str, ...], known: Known | None
) -> None:
    assert answer(status, wanted, ("api",)) == known


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"authenticated": False, "error": "expired"}, "expired"),
        ({"authenticated": True, "user": []}, None),
        ({"authenticated": True, "user": {"username": "x", "groups": "root"}}, "list of strings"),
        ({"authenticated": True, "user": {"username": "x", "extra": {"a": "b"}}}, "list of strings"),
        (STATUS | {"audiences": "api"}, "list of strings"),
    ],
)
def test_an_error_and_a_misshapen_user_are_told(status: Any, why: str | None) -> None:
    if why is None:
        assert answer(status, ("api",), ("api",)) == (User(""), ("api",))
        return
    with pytest.raises(InvalidToken, match=why):
        answer(status, ("api",), ("api",))


class Asked:
    """Answers when it is let, and counts."""

    def __init__(self, known: Known | InvalidToken | None = (JANE, ("api",))) -> None:
        self.known = known
        self.count = 0
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self, _token: str, _audiences: tuple[str, ...]) -> Known | None:
        self.count += 1
        await self.may.wait()
        if isinstance(self.known, InvalidToken):
            raise self.known
        return self.known


async def test_what_is_known_and_what_is_not_are_remembered_and_a_failure_is_not() -> None:
    clock = Clock()
    for known, asked_again in (((JANE, ("api",)), 1), (None, 1), (InvalidToken("down"), 2)):
        asked = Asked(known)
        remembered = Remembered(asked, 60.0, clock)
        for _ in range(2):
            if isinstance(known, InvalidToken):
                with pytest.raises(InvalidToken):
                    await remembered("t", ("api",))
            else:
                assert await remembered("t", ("api",)) == known
        assert asked.count == asked_again


async def test_it_is_asked_again_for_another_audience_and_after_its_time() -> None:
    asked, clock = Asked(), Clock()
    remembered = Remembered(asked, 60.0, clock)
    await remembered("t", ("api",))
    await remembered("t", ("other",))
    assert asked.count == 2

    clock.now += 61
    await remembered("t", ("api",))
    assert asked.count == 3


async def test_those_who_ask_at_once_wait_for_one_answer_even_when_the_first_leaves() -> None:
    asked = Asked()
    asked.may.clear()
    remembered = Remembered(asked, 0.0)
    first, second = (asyncio.create_task(remembered("t", ("api",))) for _ in range(2))
    while not asked.count:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    asked.may.set()

    assert await second == (JANE, ("api",))
    assert asked.count == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_others_are_asked_about_tokens_that_are_not_ours() -> None:
    own = tokens(accounts(), Clock())
    own.others = (Asked(None), Asked(), Asked(InvalidToken("never asked")))

    assert await own.authenticate("foreign") == (JANE, ("api",))
    assert (await own.authenticate(token()))[0].name == "system:serviceaccount:x:robot"
    assert [other.count for other in own.others if isinstance(other, Asked)] == [1, 1, 0]


async def test_all_that_is_wrong_with_a_token_is_told() -> None:
    own = tokens(accounts(), Clock())
    own.others = (Asked(InvalidToken("one")), Asked(None), Asked(InvalidToken("two")))

    with pytest.raises(InvalidToken, match=r"^one, two$"):
        await own.authenticate("foreign", (ISSUER,))
    own.others = (Asked(None),)
    with pytest.raises(InvalidToken, match=r"^invalid bearer token$"):
        await own.authenticate("foreign")
