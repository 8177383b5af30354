"""An identity token: taken apart, and checked against what its issuer and its readers agreed on.

The order of checks and their words are those of the library that upstream uses (go-oidc 2): issuer, audience, times, and
the signature last. What the payload says is not to be believed before ``Checks.check`` and a good signature.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from kybern.auth.jose import decode
from kybern.auth.oidc.keys import Key
from kybern.auth.rules import quote, quoted
from kybern.auth.tokens import InvalidToken

NBF_LEEWAY = 60.0
"""Seconds by which the clock of an issuer may be ahead."""
_GOOGLE = "accounts.google.com"


@dataclass(frozen=True, slots=True)
class Token:
    """``signed`` is what the signature is over."""

    algorithm: str
    key_id: str
    claims: Mapping[str, Any] = field(repr=False)
    signature: bytes = field(repr=False)
    signed: bytes = field(repr=False)

    @property
    def issuer(self) -> str:
        found = self.claims.get("iss")
        issuer = found if isinstance(found, str) else ""
        return f"https://{_GOOGLE}" if issuer == _GOOGLE else issuer

    @property
    def audiences(self) -> tuple[str, ...]:
        found = self.claims.get("aud")
        if isinstance(found, str):
            return (found,)
        return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def parse(text: str) -> Token | None:
    """The token in compact form; None when it is something else."""
    parts = text.split(".")
    if len(parts) != 3:
        return None
    try:
        header, payload = (msgspec.json.decode(decode(part)) for part in parts[:2])
        signature = decode(parts[2])
    except (ValueError, msgspec.DecodeError):
        return None
    if not isinstance(header, dict) or not isinstance(payload, dict):
        return None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        return None
    return Token(
        algorithm,
        key_id if isinstance(key_id, str) else "",
        payload,
        signature,
        text.rpartition(".")[0].encode(),
    )


@dataclass(frozen=True, slots=True)
class Checks:
    """What a token must be: of this issuer, for one of these audiences, signed by one of these algorithms."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]

    def check(self, token: Token, now: float) -> None:
        """All but the signature. Raises InvalidToken."""
        if token.issuer != self.issuer:
            raise InvalidToken(
                f"oidc: id token issued by a different provider, expected {quote(self.issuer)} got {quote(token.issuer)}"
            )
        if not set(self.audiences) & set(token.audiences):
            raise InvalidToken(
                f"oidc: expected audience in {quoted(sorted(self.audiences))} got {quoted(token.audiences)}"
            )
        expires = _time(token, "exp")
        if expires is None or expires < now:
            raise InvalidToken(f"oidc: token is expired (Token Expiry: {_shown(expires or 0.0)})")
        begins = _time(token, "nbf")
        if begins is not None and now + NBF_LEEWAY < begins:
            raise InvalidToken(
                f"oidc: current time {_shown(now)} before the nbf (not before) time: {_shown(begins)}"
            )
        if token.algorithm not in self.algorithms:
            raise InvalidToken(
                f"oidc: id token signed with unsupported algorithm, expected {quoted(self.algorithms)} "
                f"got {quote(token.algorithm)}"
            )


def signed_by(token: Token, keys: Iterable[Key]) -> bool:
    """Whether one of the keys, of that name if the token names one, signed it. Its algorithm must be an allowed one."""
    return any(
        key.verifies(token.algorithm, token.signature, token.signed)
        for key in keys
        if not token.key_id or key.id == token.key_id
    )


def _time(token: Token, claim: str) -> float | None:
    found = token.claims.get(claim)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InvalidToken(f"oidc: failed to unmarshal claims: the claim {claim} is no number")
    return float(found)


def _shown(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g}"
