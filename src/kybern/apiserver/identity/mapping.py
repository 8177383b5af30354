"""From claims to a user: what an issuer's setting makes of a token that is good. Pure; texts are upstream's."""

from collections.abc import Mapping, Sequence
from typing import Any

from kybern.apiserver.identity.configuration import Issuer, PrefixedClaim
from kybern.apiserver.identity.expressions import Expression, Failed, seen_claims, seen_user
from kybern.auth.tokens import EXTRA, InvalidToken
from kybern.auth.user import User

type Claims = Mapping[str, Any]

_CREDENTIAL = EXTRA + "credential-id"
_STRINGS = "expression must return a string or a list of strings"


def user_of(issuer: Issuer, claims: Claims) -> User:
    """The user, if the claims and the user itself are what the rules want. Raises InvalidToken."""
    seen = seen_claims(claims)
    user = User(
        _username(issuer, claims, seen),
        _groups(issuer, claims, seen),
        _uid(issuer, claims, seen),
        _extra(issuer, claims, seen),
    )
    for rule in issuer.setting.claim_validation_rules:
        if rule.claim:
            _require(claims, rule.claim, rule.required_value)
    _hold(issuer.claim_rules, seen, "claim validation expression")
    _hold(issuer.user_rules, seen_user(user), "user info validation rule")
    return user


def _text(claims: Claims, claim: str) -> str:
    """A claim that is a string. Raises InvalidToken with what is wrong."""
    if claim not in claims:
        raise InvalidToken("claim not present")
    found = claims[claim]
    if not isinstance(found, str):
        raise InvalidToken(f"json: cannot unmarshal {_sort(found)} into Go value of type string")
    return found


def _sort(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object" if isinstance(value, Mapping) else "string"


def _parsed(claims: Claims, claim: str, what: str) -> str:
    try:
        return _text(claims, claim)
    except InvalidToken as problem:
        raise InvalidToken(f"oidc: parse {what}: {problem}") from problem


def _prefixed(mapping: PrefixedClaim, text: str) -> str:
    return f"{mapping.prefix or ''}{text}"


def _value(expression: Expression, seen: Mapping[str, Any], what: str) -> Any:
    try:
        return expression.value(seen)
    except Failed as problem:
        raise InvalidToken(f"oidc: error evaluating {what}: {problem}") from problem


def _string(expression: Expression, seen: Mapping[str, Any], what: str) -> str:
    found = _value(expression, seen, f"{what} claim expression")
    if not isinstance(found, str):
        raise InvalidToken(
            f"oidc: error evaluating {what} claim expression: {what} claim expression must return a string"
        )
    return found


def _username(issuer: Issuer, claims: Claims, seen: Mapping[str, Any]) -> str:
    if issuer.username is not None:
        found = _string(issuer.username, seen, "username")
        if not found:
            raise InvalidToken("oidc: empty username via CEL expression is not allowed")
        return found
    mapping = issuer.setting.claim_mappings.username
    name = _parsed(claims, mapping.claim, f'username claims "{mapping.claim}"')
    if mapping.claim == "email" and "email_verified" in claims:
        # https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims
        verified = claims["email_verified"]
        if not isinstance(verified, bool):
            wrong = f"json: cannot unmarshal {_sort(verified)} into Go value of type bool"
            raise InvalidToken(f"oidc: parse 'email_verified' claim: {wrong}")
        if not verified:
            raise InvalidToken("oidc: email not verified")
    return _prefixed(mapping, name)


def _groups(issuer: Issuer, claims: Claims, seen: Mapping[str, Any]) -> tuple[str, ...]:
    mapping = issuer.setting.claim_mappings.groups
    if mapping.claim and mapping.claim in claims:
        found = claims[mapping.claim]
        if found is None:
            return ()
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return tuple(_prefixed(mapping, one) for one in found)
        return (_prefixed(mapping, _parsed(claims, mapping.claim, f'groups claim "{mapping.claim}"')),)
    if issuer.groups is None:
        return ()
    try:
        return _strings(_value(issuer.groups, seen, "group claim expression"))
    except ValueError as problem:
        raise InvalidToken(f"oidc: error evaluating group claim expression: {problem}") from problem


def _uid(issuer: Issuer, claims: Claims, seen: Mapping[str, Any]) -> str:
    mapping = issuer.setting.claim_mappings.uid
    if mapping.claim:
        return _parsed(claims, mapping.claim, f'uid claim "{mapping.claim}"')
    return _string(issuer.uid, seen, "uid") if issuer.uid is not None else ""


def _extra(issuer: Issuer, claims: Claims, seen: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    jti = claims.get("jti")
    if isinstance(jti, str) and jti:
        found[_CREDENTIAL] = (f"JTI={jti}",)
    for key, expression in issuer.extra:
        try:
            values = _strings(_value(expression, seen, "extra claim expression"))
        except ValueError as problem:
            raise InvalidToken(
                f"oidc: error evaluating extra claim expression: {expression.source}: {problem}"
            ) from problem
        if values:
            found[key] = values
    return found


def _strings(found: Any) -> tuple[str, ...]:
    """What an expression gives for several strings; what is empty is left out. Raises ValueError."""
    if found is None:
        return ()
    if isinstance(found, str):
        return (found,) if found else ()
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise ValueError(_STRINGS)
    return tuple(one for one in found if one)


def _require(claims: Claims, claim: str, wanted: str) -> None:
    if claim not in claims:
        raise InvalidToken(f"oidc: required claim {claim} not present in ID token")
    found = _parsed(claims, claim, f"claim {claim}")
    if found != wanted:
        raise InvalidToken(
            f"oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"
        )


def _hold(rules: Sequence[Expression], seen: Mapping[str, Any], what: str) -> None:
    for rule in rules:
        if _value(rule, seen, what) is not True:
            raise InvalidToken(
                f"oidc: error evaluating {what}: validation expression '{rule.source}' failed: {rule.message}"
            )
