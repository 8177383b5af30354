"""How long a request may take."""

import pytest

from kybern.apiserver.deadline import exceeded, seconds
from kybern.machinery.errors import BadRequest


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ({}, 60),
        ({"timeout": ""}, 60),
        ({"timeout": "10s"}, 10),
        ({"timeout": "0"}, 60),
        ({"timeout": "5m"}, 60),
        ({"timeout": "-1s"}, 60),
    ],
)
def test_a_request_may_ask_for_less(query: dict[str, str], allowed: float) -> None:
    assert seconds(query, 60) == allowed


def test_a_time_that_is_none_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="invalid timeout specified in the request URL"):
        seconds({"timeout": "soon"}, 60)


def test_the_answer_is_upstreams() -> None:
    status = exceeded().status()

    assert (status["code"], status["reason"]) == (504, "Timeout")
    assert status["message"] == "Timeout: request did not complete within the allotted timeout"
