"""Query parameters as upstream's conversions read them."""

import pytest

from kybern.apiserver.options import flag, number
from kybern.machinery.errors import BadRequest


@pytest.mark.parametrize(
    ("said", "means"), [("", True), ("1", True), ("no", True), ("False", False), ("0", False), ("00", True)]
)
def test_what_is_there_and_does_not_say_no_means_yes(said: str, means: bool) -> None:
    assert flag({"watch": said}, "watch") is means
    assert not flag({}, "watch")


@pytest.mark.parametrize(("said", "means"), [("7", 7), ("+7", 7), ("-0", 0), (str(2**63 - 1), 2**63 - 1)])
def test_numbers_are_go_s(said: str, means: int) -> None:
    assert number({"limit": said}, "limit") == means
    assert number({}, "limit") is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "invalid syntax"),
        ("1_000", "invalid syntax"),
        (" 7", "invalid syntax"),
        ("٣", "invalid syntax"),
        (str(2**63), "value out of range"),
    ],
)
def test_other_numbers_are_refused_in_go_s_words(said: str, why: str) -> None:
    with pytest.raises(BadRequest) as refused:
        number({"limit": said}, "limit")

    assert str(refused.value) == f'strconv.ParseInt: parsing "{said}": {why}'
