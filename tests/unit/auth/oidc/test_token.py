"""Identity tokens: taken apart, checked, and verified by keys of every allowed sort."""

import json
from typing import Any

import pytest

from kybern.auth.jose import encode
from kybern.auth.oidc.keys import ALGORITHMS, BadKeys, key_set
from kybern.auth.oidc.token import Checks, Token, parse, signed_by
from kybern.auth.tokens import InvalidToken
from tests.oidc_issuer import SigningKey

NOW = 1_800_000_000.0
CHECKS = Checks("https://issuer", ("api", "other"), ("ES256",))
KEY = SigningKey.make()


def published(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.jwk() for key in keys]}).encode()


def token(**changes: Any) -> Token:
    said = {"iss": "https://issuer", "aud": ["api"], "exp": NOW + 60} | changes
    found = parse(KEY.token({key: value for key, value in said.items() if value is not None}))
    assert found is not None
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_allowed_algorithm_verifies_and_only_what_was_signed(algorithm: str) -> None:
    key, other = SigningKey.make(algorithm), SigningKey.make(algorithm)
    found = parse(key.token({"iss": "x"}))
    assert found is not None
    keys = key_set(published(key))

    assert signed_by(found, keys)
    assert not signed_by(found, key_set(published(other)))
    forged = parse(
        f"{encode(b'{"alg":"%b"}' % algorithm.encode())}.{encode(b'{}')}.{encode(found.signature)}"
    )
    assert forged is not None
    assert not signed_by(forged, keys)


def test_a_key_does_not_verify_by_an_algorithm_of_another_sort() -> None:
    rsa, elliptic = SigningKey.make("RS256"), SigningKey.make("ES384")
    for signer, algorithm in ((rsa, "ES256"), (elliptic, "RS256"), (elliptic, "ES256"), (rsa, "RS384")):
        found = parse(signer.token({}, alg=algorithm))
        assert found is not None
        assert not signed_by(found, key_set(published(rsa, elliptic)))


def test_a_named_key_is_taken_and_without_a_name_every_key_is_tried() -> None:
    first, second = SigningKey.make(id="first"), SigningKey.make(id="second")
    keys = key_set(published(first, second))
    named, misnamed = parse(second.token({})), parse(second.token({}, kid="first"))
    unnamed = parse(second.token({}, kid=""))
    assert named is not None
    assert misnamed is not None
    assert unnamed is not None
    assert [signed_by(found, keys) for found in (named, misnamed, unnamed)] == [True, False, True]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"keys":1}',
        b'{"keys":[{"kty":"RSA","n":"AQ"}]}',
        b'{"keys":[{"kty":"EC","crv":"P-256"}]}',
    ],
)
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(BadKeys):
        key_set(body)


def test_keys_of_other_sorts_are_left_out() -> None:
    other = [{"kty": "OKP", "crv": "Ed25519", "x": "AQ"}, {"kty": "oct", "k": "AQ"}]
    assert key_set(json.dumps({"keys": other}).encode()) == ()


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d", "e30.e30", "!.e30.e30", "e30.W10.e30", "bnVsbA.e30.e30"]
)
def test_what_is_no_token_is_none(text: str) -> None:
    assert parse(text) is None


def test_a_good_token_passes_all_checks() -> None:
    CHECKS.check(token(), NOW)
    CHECKS.check(token(aud="other"), NOW)
    CHECKS.check(token(nbf=NOW + 59), NOW)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"iss": "https://else"},
            'oidc: id token issued by a different provider, expected "https://issuer" got "https://else"',
        ),
        ({"aud": "mine"}, 'oidc: expected audience in ["api" "other"] got ["mine"]'),
        ({"aud": None}, 'oidc: expected audience in ["api" "other"] got []'),
        ({"exp": NOW - 1}, "oidc: token is expired (Token Expiry: 2027-01-15 07:59:59 +0000 UTC)"),
        ({"exp": None}, "oidc: token is expired"),
        ({"exp": "soon"}, "the claim exp is no number"),
        ({"nbf": NOW + 61}, "before the nbf (not before) time"),
    ],
)
def test_a_token_that_is_not_good_is_told_why(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        CHECKS.check(token(**changes), NOW)
    assert why in str(refused.value)


def test_algorithms_that_nobody_wants_are_refused() -> None:
    with pytest.raises(InvalidToken, match="signed with unsupported algorithm"):
        Checks("https://issuer", ("api",), ("RS256",)).check(token(), NOW)
    said = {"iss": "https://issuer", "aud": "api", "exp": NOW + 1}
    unsigned = Token("none", "", said, b"", b"")
    with pytest.raises(InvalidToken, match='expected \\["ES256"\\] got "none"'):
        CHECKS.check(unsigned, NOW)


def test_google_is_one_issuer_under_two_names() -> None:
    assert token(iss="accounts.google.com").issuer == "https://accounts.google.com"
