"""Tokens that are kept in Secrets of type kubernetes.io/service-account-token, and never expire.

They are good for as long as the Secret holds exactly this token and its service account is the same. Nobody makes them
for new accounts any more, yet who makes such a Secret by hand gets one: for programs outside the cluster.

A Secret that its account lists was made by the control plane of old: a token out of it is good with a warning, and once
it has not been used for long, legacy-serviceaccount-token-cleaner-controller marks it as invalid.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from kybern.auth.keys import SigningKey
from kybern.auth.legacy_labels import INVALID_SINCE, LAST_USED
from kybern.auth.tokens import LEEWAY, InvalidToken, Verifier, account_groups, payload, sign, username
from kybern.auth.user import User

ISSUER = "kubernetes/serviceaccount"
WARNING = (
    "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated "
    "secret-based tokens."
)
_PREFIX = "kubernetes.io/serviceaccount/"
_GONE = "service account token has been invalidated"


class Marked(InvalidToken):
    """A token that would be good, if its Secret did not say that it is so no more."""


class Claims(msgspec.Struct, frozen=True):
    """The payload, its fields in the order that upstream writes them."""

    iss: str = ""
    namespace: str = msgspec.field(name=_PREFIX + "namespace", default="")
    secret: str = msgspec.field(name=_PREFIX + "secret.name", default="")
    account: str = msgspec.field(name=_PREFIX + "service-account.name", default="")
    uid: str = msgspec.field(name=_PREFIX + "service-account.uid", default="")
    sub: str = ""


_CLAIMS = msgspec.json.Decoder(Claims)


def made(namespace: str, account: str, uid: str, secret: str, key: SigningKey) -> str:
    """The token for a Secret of a service account; with an RSA key the same each time."""
    return sign(Claims(ISSUER, namespace, secret, account, uid, username(namespace, account)), key)


def read(token: str) -> Claims | None:
    """What a token says when it is of this sort, else None; it proves nothing before ``check``. Raises InvalidToken."""
    try:
        claims = _CLAIMS.decode(payload(token))
    except msgspec.DecodeError:
        return None
    return claims if claims.iss == ISSUER else None


def bound(claims: Claims) -> Iterable[tuple[str, str, str]]:
    """(plural, namespace, name) of what ``check`` judges."""
    yield "serviceaccounts", claims.namespace, claims.account
    yield "secrets", claims.namespace, claims.secret


def check(
    token: str, claims: Claims, verifier: Verifier, found: Mapping[str, dict[str, Any] | None], now: float
) -> User:
    """The user that a token stands for, given the objects that ``bound`` lists. Raises InvalidToken."""
    verifier.verify(token)
    if claims.sub != username(claims.namespace, claims.account) or not claims.secret:
        raise InvalidToken("invalid bearer token")
    secret, account = found.get("secrets"), found.get("serviceaccounts")
    if secret is None or _is_deleted(secret, now):
        raise InvalidToken(_GONE)
    if not hmac.compare_digest(_kept(secret), token.encode()):
        raise InvalidToken("service account token does not match server's copy")
    if account is None or _is_deleted(account, now):
        raise InvalidToken(f"service account {claims.namespace}/{claims.account} has been deleted")
    uid = account["metadata"].get("uid", "")
    if uid != claims.uid:
        raise InvalidToken(f"service account UID ({uid}) does not match claim ({claims.uid})")
    if _labels(secret).get(INVALID_SINCE):
        raise Marked(_marked(claims))
    warnings = (WARNING,) if is_listed(account, claims.secret) else ()
    return User(claims.sub, account_groups(claims.namespace), uid, warnings=warnings)


def _marked(claims: Claims) -> str:
    secret, account = f"{claims.namespace}/{claims.secret}", f"{claims.namespace}/{claims.account}"
    return (
        f"the token in secret {secret} for service account {account} has been marked invalid. Use tokens from the "
        f"TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret "
        "to temporarily allow use of this token"
    )


def is_listed(account: Mapping[str, Any], secret: str) -> bool:
    """Whether an account names the Secret as its own."""
    return any(one.get("name") == secret for one in account.get("secrets") or ())


def day(now: float) -> date:
    """The date of a time in seconds, as the labels mean it: in UTC."""
    return datetime.fromtimestamp(now, UTC).date()


def use_is_noted(secret: Mapping[str, Any], today: date) -> bool:
    """Whether a Secret says already that it was used today. Tomorrow will do: another clock may be ahead."""
    tomorrow = today + timedelta(days=1)
    return _labels(secret).get(LAST_USED) in (today.isoformat(), tomorrow.isoformat())


def with_use(secret: dict[str, Any], today: date) -> dict[str, Any]:
    """The Secret, saying that it was used today."""
    labels = {**_labels(secret), LAST_USED: today.isoformat()}
    return {**secret, "metadata": {**secret["metadata"], "labels": labels}}


def _labels(secret: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = secret["metadata"].get("labels") or {}
    return found


def _kept(secret: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode((secret.get("data") or {}).get("token", ""))
    except ValueError:
        return b""


def _is_deleted(item: dict[str, Any], now: float) -> bool:
    since = item["metadata"].get("deletionTimestamp")
    return bool(since) and datetime.fromisoformat(since).timestamp() < now - LEEWAY
