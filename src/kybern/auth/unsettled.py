"""Decisions that need an answer from outside, such as a webhook's, while deciding itself does no I/O.

A decision that lacks an answer raises ``Unsettled``, which knows how to get it. ``settled`` gets it and has the decision
made once more, until nothing is lacking. So all that decides stays a plain function (rights, impersonation, escalation,
expressions that ask what somebody may do), and costs nothing where no answer ever comes from outside.

Answers hold for one ``settled`` at least, however short a time they may be kept otherwise.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from kybern.auth.attributes import Decision

type Answers = dict[Any, Decision]

_answers: ContextVar[Answers | None] = ContextVar("answers", default=None)


class Unsettled(Exception):  # no error: it never leaves ``settled``
    """Nothing is decided yet: ``key`` is what the answer is kept under, ``ask`` gets it."""

    def __init__(self, key: Any, ask: Callable[[], Awaitable[Decision]]) -> None:
        super().__init__("an answer from outside is lacking")
        self.key = key
        self.ask = ask


def answer(key: Any) -> Decision | None:
    """What was answered before while this decision is being made."""
    known = _answers.get()
    return known.get(key) if known else None


async def settled[T](decide: Callable[[], T]) -> T:
    """What a decision comes to, with all the answers that it needs."""
    before = _answers.get()
    known: Answers = {} if before is None else before
    token = _answers.set(known)
    try:
        while True:
            try:
                return decide()
            except Unsettled as lacking:
                problem = lacking
            known[problem.key] = await problem.ask()
    finally:
        _answers.reset(token)
