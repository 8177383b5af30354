"""Tokens that are kept in Secrets: good as long as the Secret and the account are."""

from base64 import b64encode
from typing import Any

import pytest

from kybern.auth import legacy_labels, legacy_tokens
from kybern.auth.keys import SigningKey
from kybern.auth.tokens import Claims, InvalidToken, Verifier, sign
from kybern.auth.x509 import signing_key

KEY, OTHER = (SigningKey.load(signing_key().key_pem) for _ in range(2))
VERIFIER = Verifier(("https://issuer",), ("https://issuer",), (KEY.verifying,))
NOW = 1767225600.0


def token(uid: str = "u", key: SigningKey = KEY) -> str:
    return legacy_tokens.made("a", "robot", uid, "key", key)


# An elliptic key signs differently each time.
TOKEN, FORGED, OLD = token(), token(key=OTHER), token("v")


def objects(kept: str, **metadata: Any) -> dict[str, Any]:
    return {
        "secrets": {
            "metadata": {"name": "key", **metadata},
            "data": {"token": b64encode(kept.encode()).decode()},
        },
        "serviceaccounts": {"metadata": {"name": "robot", "uid": "u"}},
    }


def checked(text: str, found: dict[str, Any]) -> Any:
    claims = legacy_tokens.read(text)
    assert claims is not None
    return legacy_tokens.check(text, claims, VERIFIER, found, NOW)


def test_a_token_stands_for_its_account() -> None:
    user = checked(TOKEN, objects(TOKEN))

    assert (user.name, user.uid) == ("system:serviceaccount:a:robot", "u")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:a")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (FORGED, objects(FORGED)),
        (TOKEN, objects(OLD)),
        (OLD, objects(OLD)),
        (TOKEN, {**objects(TOKEN), "secrets": None}),
        (TOKEN, {**objects(TOKEN), "serviceaccounts": None}),
        (TOKEN, objects(TOKEN, deletionTimestamp="2025-12-31T00:00:00Z")),
        (TOKEN, objects(TOKEN, labels={legacy_labels.INVALID_SINCE: "2025-12-31"})),
        (TOKEN, {**objects(TOKEN), "secrets": {"metadata": {}, "data": {"token": "%"}}}),
    ],
)  # fmt: skip
def test_a_token_that_is_not_good_any_more(text: str, found: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        checked(text, found)


def test_a_marked_token_is_told_how_to_be_used_again() -> None:
    with pytest.raises(
        legacy_tokens.Marked, match="in secret a/key for service account a/robot has been marked"
    ):
        checked(TOKEN, objects(TOKEN, labels={legacy_labels.INVALID_SINCE: "2025-12-31"}))


def test_a_token_that_the_account_lists_is_good_with_a_warning() -> None:
    found = objects(TOKEN)
    found["serviceaccounts"]["secrets"] = [{"name": "other"}, {"name": "key"}]

    assert checked(TOKEN, found).warnings == (legacy_tokens.WARNING,)
    assert checked(TOKEN, objects(TOKEN)).warnings == ()


@pytest.mark.parametrize(
    ("noted", "is_noted"),
    [("2026-01-01", True), ("2026-01-02", True), ("2025-12-31", False), ("2026-01-03", False), (None, False)],
)
def test_a_use_is_noted_once_a_day(noted: str | None, is_noted: bool) -> None:
    today = legacy_tokens.day(NOW)
    secret = {"metadata": {"name": "key", "labels": {legacy_labels.LAST_USED: noted} if noted else None}}

    assert legacy_tokens.use_is_noted(secret, today) is is_noted
    assert legacy_tokens.use_is_noted(legacy_tokens.with_use(secret, today), today)


@pytest.mark.parametrize("text", ["", "2026-1-1", "20260101", "2026-02-30", "2026-01-01T00:00:00Z", "today"])
def test_a_date_has_one_form(text: str) -> None:
    assert not legacy_labels.is_date(text)
    assert legacy_labels.is_date("2026-02-28")


def test_other_tokens_are_others_to_judge() -> None:
    assert legacy_tokens.read(sign(Claims(iss="https://issuer"), KEY)) is None
