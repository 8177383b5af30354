"""Decisions that wait for answers from outside."""

import pytest

from kybern.auth.attributes import Decision, Verdict
from kybern.auth.unsettled import Unsettled, answer, settled

ALLOWED = Decision(Verdict.ALLOW)


class Outside:
    """Answers, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def wanted(self, key: str) -> Decision:
        if (known := answer(key)) is not None:
            return known

        async def ask() -> Decision:
            self.asked.append(key)
            return ALLOWED

        raise Unsettled(key, ask)


async def test_a_decision_is_made_again_with_each_answer_that_it_lacked() -> None:
    outside = Outside()

    assert (
        await settled(lambda: [outside.wanted("a"), outside.wanted("b"), outside.wanted("a")])
        == [ALLOWED] * 3
    )
    assert outside.asked == ["a", "b"]


async def test_answers_do_not_outlive_their_decision() -> None:
    outside = Outside()
    for _ in range(2):
        await settled(lambda: outside.wanted("a"))

    assert outside.asked == ["a", "a"]
    with pytest.raises(Unsettled):
        outside.wanted("a")


async def test_what_lacks_nothing_is_decided_at_once() -> None:
    assert await settled(lambda: 7) == 7
