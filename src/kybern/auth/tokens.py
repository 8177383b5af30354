"""Service account tokens: JWTs that say which account, bound to which pod, node or secret, until when.

``Claims`` is what a token says; ``sign`` writes it, ``Verifier.read`` checks signature, issuer, audience and times.
Whether the objects that a token names are still there is asked separately: ``bound`` lists them and ``check`` judges what
was found, so both stay pure and a caller may read from any cache. Error texts are upstream's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from kybern.auth.jose import decode, encode
from kybern.auth.keys import SigningKey, VerifyingKey
from kybern.auth.rules import quoted
from kybern.auth.user import User

LEEWAY = 60
"""Seconds by which clocks may differ."""
PROJECTED_SECONDS = 3607
"""The lifetime that admission asks for; such tokens live a year, and reload warnings start after this time."""
EXTENDED_SECONDS = 365 * 24 * 3600
ACCOUNT_PREFIX = "system:serviceaccount:"
ACCOUNTS = "system:serviceaccounts"
EXTRA = "authentication.kubernetes.io/"


class InvalidToken(Exception):
    """A bearer token that proves nothing. The text is upstream's; clients see only "Unauthorized" unless they review."""


class Ref(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    uid: str = ""


class Private(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claim ``kubernetes.io``."""

    namespace: str = ""
    node: Ref | None = None
    pod: Ref | None = None
    secret: Ref | None = None
    serviceaccount: Ref = Ref()
    warnafter: int | None = None


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of a token, its fields in the order that upstream writes them."""

    aud: tuple[str, ...] | str = ()
    exp: int = 0
    iat: int = 0
    iss: str = ""
    jti: str = ""
    kubernetes: Private = msgspec.field(name="kubernetes.io", default=Private())
    nbf: int = 0
    sub: str = ""

    @property
    def audiences(self) -> tuple[str, ...]:
        return (self.aud,) if isinstance(self.aud, str) else self.aud


class _Header(msgspec.Struct):
    alg: str = ""
    kid: str = ""


_HEADER = msgspec.json.Decoder(_Header)
_CLAIMS = msgspec.json.Decoder(Claims)


def username(namespace: str, name: str) -> str:
    return f"{ACCOUNT_PREFIX}{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, str]:
    return ACCOUNTS, f"{ACCOUNTS}:{namespace}"


def split_username(name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that a user is; None for others."""
    parts = name.removeprefix(ACCOUNT_PREFIX).split(":")
    if not name.startswith(ACCOUNT_PREFIX) or len(parts) != 2 or not all(parts):
        return None
    return parts[0], parts[1]


def sign(claims: msgspec.Struct, key: SigningKey) -> str:
    """The token in compact form."""
    header = msgspec.json.encode({"alg": key.verifying.algorithm, "kid": key.verifying.id})
    body = f"{encode(header)}.{encode(msgspec.json.encode(claims))}"
    return f"{body}.{encode(key.sign(body.encode()))}"


def payload(token: str) -> bytes:
    """What a token says, whether or not it is true. Raises InvalidToken."""
    try:
        return decode(token.split(".")[1])
    except (IndexError, ValueError) as error:
        raise InvalidToken("invalid bearer token") from error


@dataclass(slots=True)
class Verifier:
    """Reads tokens of some issuers. ``audiences`` are the server's own, wanted when a caller names none."""

    issuers: tuple[str, ...]
    audiences: tuple[str, ...]
    keys: tuple[VerifyingKey, ...]
    _by_id: Mapping[str, VerifyingKey] = field(init=False)

    def __post_init__(self) -> None:
        self._by_id = {key.id: key for key in self.keys}

    def read(self, token: str, now: float, audiences: tuple[str, ...] = ()) -> Claims:
        """What the token says. Raises InvalidToken; its objects are still to be checked."""
        claims = self._verified(token)
        wanted = audiences or self.audiences
        given = claims.audiences or self.audiences
        if not set(given) & set(wanted):
            raise InvalidToken(
                f"token audiences {quoted(given)} is invalid for the target audiences {quoted(wanted)}"
            )
        if now > claims.exp + LEEWAY:
            raise InvalidToken("service account token has expired")
        if now < claims.nbf - LEEWAY:
            raise InvalidToken("service account token is not valid yet")
        if now < claims.iat - LEEWAY:
            raise InvalidToken(
                "service account token claims could not be validated due to unexpected validation error"
            )
        return claims

    def _verified(self, token: str) -> Claims:
        """The payload under a good signature of a known key."""
        try:
            claims = _CLAIMS.decode(payload(token))
        except msgspec.DecodeError as error:
            raise InvalidToken("invalid bearer token") from error
        if claims.iss not in self.issuers:
            raise InvalidToken("invalid bearer token")
        self.verify(token)
        return claims

    def verify(self, token: str) -> None:
        """Raises InvalidToken when no known key has signed the token."""
        body, _, tail = token.rpartition(".")
        try:
            header, signature = _HEADER.decode(decode(body.partition(".")[0])), decode(tail)
        except (ValueError, msgspec.DecodeError) as error:
            raise InvalidToken("invalid bearer token") from error
        named = self._by_id.get(header.kid)
        for key in (named,) if named else self.keys:
            # The algorithm is the key's, never the token's to choose.
            if key.algorithm == header.alg and key.verifies(signature, body.encode()):
                return
        raise InvalidToken("invalid bearer token")


def bound(claims: Claims) -> Iterable[tuple[str, str, str]]:
    """(plural, namespace, name) of what must exist for a token to be good, the service account first."""
    private = claims.kubernetes
    yield "serviceaccounts", private.namespace, private.serviceaccount.name
    if private.secret is not None:
        yield "secrets", private.namespace, private.secret.name
    if private.pod is not None:
        yield "pods", private.namespace, private.pod.name
    elif private.node is not None:
        yield "nodes", "", private.node.name


def check(claims: Claims, found: Mapping[str, dict[str, Any] | None], now: float) -> None:
    """Judges the objects that ``bound`` listed, by plural. Raises InvalidToken when one is gone, deleted or another one."""
    private = claims.kubernetes
    account = private.serviceaccount
    where = f"{private.namespace}/{account.name}"
    _present(
        found.get("serviceaccounts"), account, now,
        missing=f'serviceaccount "{account.name}" not found',
        deleted=f"service account {where} has been deleted",
        other=lambda uid: f"service account UID ({uid}) does not match claim ({account.uid})",
    )  # fmt: skip
    gone = "service account token has been invalidated"
    bindings = [("secrets", "secret", private.secret), ("pods", "pod", private.pod)]
    if private.pod is None:
        bindings.append(("nodes", "node", private.node))
    for plural, word, ref in bindings:
        if ref is not None:
            _present(found.get(plural), ref, now, missing=gone, deleted=gone, other=_mismatch(word, ref))


def _mismatch(word: str, ref: Ref) -> Callable[[str], str]:
    return lambda uid: f"{word} UID ({uid}) does not match service account {word} ref claim ({ref.uid})"


def _present(
    found: dict[str, Any] | None,
    ref: Ref,
    now: float,
    *,
    missing: str,
    deleted: str,
    other: Callable[[str], str],
) -> None:
    if found is None:
        raise InvalidToken(missing)
    metadata = found["metadata"]
    since = metadata.get("deletionTimestamp")
    if since and datetime.fromisoformat(since).timestamp() < now - LEEWAY:
        raise InvalidToken(deleted)
    if metadata.get("uid", "") != ref.uid:
        raise InvalidToken(other(metadata.get("uid", "")))


def user_of(claims: Claims) -> User:
    """The identity that a checked token gives."""
    private = claims.kubernetes
    extra: dict[str, tuple[str, ...]] = {}
    if claims.jti:
        extra[EXTRA + "credential-id"] = (f"JTI={claims.jti}",)
    if private.node is not None and private.node.name:
        extra[EXTRA + "node-name"] = (private.node.name,)
        if private.node.uid:
            extra[EXTRA + "node-uid"] = (private.node.uid,)
    if private.pod is not None and private.pod.name and private.pod.uid:
        extra[EXTRA + "pod-name"] = (private.pod.name,)
        extra[EXTRA + "pod-uid"] = (private.pod.uid,)
    name = username(private.namespace, private.serviceaccount.name)
    return User(name, account_groups(private.namespace), private.serviceaccount.uid, extra)
