"""Collisions are tried again, other failures and certain versions are not."""

import pytest

from kybern.apiserver.subresources import patience
from kybern.apiserver.subresources.patience import persistent
from kybern.machinery.errors import ApiError, Conflict, NotFound


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSE", 0.0)


class Attempts:
    def __init__(self, *problems: ApiError) -> None:
        self.problems = list(problems)
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        if self.problems:
            raise self.problems.pop(0)
        return self.count


async def test_a_collision_is_tried_again() -> None:
    assert await persistent(Attempts(Conflict("a"), Conflict("b"))) == 3


async def test_twenty_collisions_are_enough() -> None:
    attempts = Attempts(*(Conflict(str(number)) for number in range(100)))

    with pytest.raises(Conflict, match="19"):
        await persistent(attempts)
    assert attempts.count == 20


async def test_anything_else_is_told_at_once() -> None:
    attempts = Attempts(NotFound("gone"), NotFound("gone"))

    with pytest.raises(NotFound):
        await persistent(attempts)
    assert attempts.count == 1


async def test_who_asks_for_a_certain_version_gets_one_attempt() -> None:
    attempts = Attempts(Conflict("a"), Conflict("b"))

    with pytest.raises(Conflict, match="a"):
        await persistent(attempts, once=True)
    assert attempts.count == 1
