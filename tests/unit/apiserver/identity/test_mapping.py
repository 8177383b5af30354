"""What claims come to: names, groups, uids, extras, and rules that must hold."""

from typing import Any

import msgspec
import pytest

from kybern.apiserver.identity.configuration import JWTSetting, issuer_of
from kybern.apiserver.identity.mapping import user_of
from kybern.auth.tokens import InvalidToken
from kybern.auth.user import User


def user(claims: dict[str, Any], **setting: Any) -> User:
    mappings = {"username": {"claim": "sub", "prefix": "x:"}} | setting.pop("mappings", {})
    raw = {"issuer": {"url": "https://i", "audiences": ["a"]}, "claimMappings": mappings} | setting
    return user_of(issuer_of(msgspec.convert(raw, JWTSetting)), claims)


def test_claims_get_their_prefixes() -> None:
    groups = {"groups": {"claim": "roles", "prefix": "r:"}, "uid": {"claim": "id"}}
    found = user({"sub": "jane", "roles": ["a", "b"], "id": "7", "jti": "t"}, mappings=groups)

    assert found == User(
        "x:jane", ("r:a", "r:b"), "7", {"authentication.kubernetes.io/credential-id": ("JTI=t",)}
    )
    assert user({"sub": "jane", "roles": "one", "id": ""}, mappings=groups).groups == ("r:one",)
    assert user({"sub": "jane", "id": ""}, mappings=groups).groups == ()


def test_expressions_give_names_groups_and_extras() -> None:
    mappings = {
        "username": {"expression": "claims.sub + '@' + claims.org.name"},
        "groups": {"expression": "claims.roles.split(',') + ['']"},
        "uid": {"expression": "string(int(claims.id))"},
        "extra": [
            {"key": "example.org/a", "valueExpression": "claims.org.teams"},
            {"key": "example.org/b", "valueExpression": "claims.?nothing.orValue('')"},
            {"key": "example.org/c", "valueExpression": "claims.org.none"},
        ],
    }
    claims = {"sub": "jane", "org": {"name": "o", "teams": ["t", "u"], "none": None}, "roles": "a,b", "id": 7}

    assert user(claims, mappings=mappings) == User("jane@o", ("a", "b"), "7", {"example.org/a": ("t", "u")})


@pytest.mark.parametrize(
    ("claims", "setting", "why"),
    [
        ({}, {}, 'oidc: parse username claims "sub": claim not present'),
        (
            {"sub": 1},
            {},
            'oidc: parse username claims "sub": json: cannot unmarshal number into Go value of type string',
        ),
        (
            {"email": "a@b", "email_verified": False},
            {"mappings": {"username": {"claim": "email", "prefix": ""}}},
            "oidc: email not verified",
        ),
        (
            {"email": "a@b", "email_verified": "yes"},
            {"mappings": {"username": {"claim": "email", "prefix": ""}}},
            "oidc: parse 'email_verified' claim",
        ),
        (
            {"sub": "j", "g": [1]},
            {"mappings": {"groups": {"claim": "g", "prefix": ""}}},
            'oidc: parse groups claim "g": json: cannot unmarshal array',
        ),
        ({"sub": "j"}, {"mappings": {"uid": {"claim": "u"}}}, 'oidc: parse uid claim "u": claim not present'),
        (
            {"sub": ""},
            {"mappings": {"username": {"expression": "claims.sub"}}},
            "oidc: empty username via CEL expression is not allowed",
        ),
        (
            {"sub": 1},
            {"mappings": {"username": {"expression": "claims.sub"}}},
            "username claim expression must return a string",
        ),
        (
            {"sub": "j"},
            {"mappings": {"groups": {"expression": "claims.g"}}},
            "oidc: error evaluating group claim expression: expression 'claims.g' resulted in error: no such key: g",
        ),
        (
            {"sub": "j", "g": 1},
            {"mappings": {"groups": {"expression": "claims.g"}}},
            "expression must return a string or a list of strings",
        ),
        (
            {"sub": "j"},
            {"claimValidationRules": [{"claim": "hd", "requiredValue": "x"}]},
            "oidc: required claim hd not present in ID token",
        ),
        (
            {"sub": "j", "hd": "y"},
            {"claimValidationRules": [{"claim": "hd", "requiredValue": "x"}]},
            "oidc: required claim hd value does not match. Got = y, want = x",
        ),
        (
            {"sub": "j", "n": 1},
            {"claimValidationRules": [{"expression": "claims.n > 1", "message": "too few"}]},
            (
                "oidc: error evaluating claim validation expression: validation expression 'claims.n > 1' failed: "
                "too few"
            ),
        ),
        (
            {"sub": "system:admin"},
            {
                "mappings": {"username": {"claim": "sub", "prefix": ""}},
                "userValidationRules": [
                    {"expression": "!user.username.startsWith('system:')", "message": "reserved"}
                ],
            },
            "oidc: error evaluating user info validation rule: validation expression",
        ),
    ],
)
def test_what_does_not_fit_is_told(claims: dict[str, Any], setting: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        user(claims, **setting)
    assert why in str(refused.value)


def test_rules_that_hold_let_the_user_in() -> None:
    found = user(
        {"sub": "j", "hd": "x", "n": 2},
        claimValidationRules=[{"claim": "hd", "requiredValue": "x"}, {"expression": "claims.n == 2.0"}],
        userValidationRules=[{"expression": "user.groups.size() == 0 && user.username == 'x:j'"}],
    )
    assert found.name == "x:j"


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("claims.example__dot__org__slash__name", "a"),
        ("claims['example.org/name']", "a"),
        ("claims.org.my__dash__name", "b"),
        ("claims.?org.?my__dash__name.orValue('none')", "b"),
        ("has(claims.org.my__dash__name) && !has(claims.org.other__dash__name) ? 'c' : 'd'", "c"),
        ("string(claims.size()) + claims.org.map(k, k)[0]", "2my-name"),
    ],
)
def test_claims_of_any_name_can_be_written_as_fields(expression: str, name: str) -> None:
    claims = {"example.org/name": "a", "org": {"my-name": "b"}}

    assert user(claims, mappings={"username": {"expression": expression}}).name == name
