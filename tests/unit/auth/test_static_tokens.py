"""Bearer tokens that a file lists."""

import pytest

from kybern.auth.static_tokens import read, user_of
from kybern.auth.user import User


@pytest.mark.parametrize(
    ("line", "user"),
    [
        pytest.param("t,jane,7", User("jane", (), "7"), id="without-groups"),
        pytest.param('t,jane,7,"dev,ops"', User("jane", ("dev", "ops"), "7"), id="groups"),
        pytest.param("t, jane, 7, dev", User("jane", ("dev",), "7"), id="one-group-and-blanks"),
        pytest.param("t,jane,7,,ignored", User("jane", (), "7"), id="further-columns"),
        pytest.param("t,a,1\n\nt,jane,7", User("jane", (), "7"), id="the-last-line-holds"),
    ],
)
def test_a_line_says_whose_a_token_is(line: str, user: User) -> None:
    assert user_of("t", read(line)) == user


@pytest.mark.parametrize("token", ["", "T", "t ", "tt", "é"])
def test_other_tokens_are_nobodys(token: str) -> None:
    assert user_of(token, read("t,jane,7\n,none,8")) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,c\nt,jane", r"line 2 must have at least 3 columns \(token, user name, user uid\), found 2"),
        ('t,jane,7,"dev', "line 1"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(text)
