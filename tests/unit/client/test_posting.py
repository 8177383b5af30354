"""Reviews posted to others: what is tried again, and what counts as an answer."""

import pytest

from kybern.client.posting import Unanswered, _review, delays, passes, result_of
from kybern.machinery.errors import (
    ApiError,
    Details,
    InternalError,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)

ASKED = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1"}


def failure(problem: ApiError, cause: BaseException | None = None) -> ApiError:
    problem.__cause__ = cause
    return problem


def test_each_wait_is_half_as_long_again_and_up_to_a_fifth_more() -> None:
    assert list(delays(lambda: 0.0)) == [0.5, 0.75, 1.125, 1.6875]
    assert next(delays(lambda: 1.0)) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("problem", "again"),
    [
        (InternalError("x"), True),
        (TooManyRequests("x"), True),
        (ServiceUnavailable("x"), False),
        (ServiceUnavailable("x", Details(retry_after_seconds=1)), True),
        (failure(ServiceUnavailable("x"), ConnectionResetError()), True),
        (failure(ServiceUnavailable("x"), ConnectionRefusedError()), False),
        (failure(Timeout("x"), TimeoutError()), False),
    ],
)
def test_what_may_be_gone_a_moment_later_is_tried_again(problem: ApiError, again: bool) -> None:
    assert passes(problem) is again


def test_a_late_answer_is_told_from_a_bad_one() -> None:
    assert result_of(failure(Timeout("x"), TimeoutError())) == "timeout"
    assert result_of(ServiceUnavailable("x")) == "error"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"nonsense", "the answer is not JSON"),
        (b"[]", "not a TokenReview of authentication.k8s.io/v1"),
        (b'{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1"}', "not a TokenReview"),
        (b'{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":[1]}', "no object"),
    ],
)
def test_what_is_no_review_is_no_answer(body: bytes, why: str) -> None:
    with pytest.raises(Unanswered, match=why):
        _review(body, ASKED)


def test_a_review_that_says_no_kind_is_one_of_what_was_asked() -> None:
    assert _review(b'{"status":{"authenticated":true}}', ASKED) == {"status": {"authenticated": True}}


def test_the_first_wait_may_be_set() -> None:
    assert list(delays(lambda: 0.0, first=2.0)) == [2.0, 3.0, 4.5, 6.75]
