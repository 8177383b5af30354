"""Who asks: client certificates, bearer tokens, front proxies' headers, and nobody.

``Authenticator.user_of`` is called once a request, with what the connection and the headers say. What a certificate says
is worked out once and kept until the certificate expires; what a token says is kept for ``REMEMBERED`` seconds, so that a
token whose pod or account is deleted stops working soon (upstream's rule). Both then cost a look into a dict.

The server hands in a ``Lookup`` (``admission.framework``) over its own watch caches: tokens ask it for service accounts,
pods, secrets and nodes, and for bootstrap tokens' Secrets.
"""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kybern.admission.framework import Lookup
from kybern.apiserver.expiration import CLIENTS
from kybern.auth import bootstrap_token, legacy_tokens, static_tokens
from kybern.auth.certificates import Bearer, Certificates
from kybern.auth.tokens import InvalidToken, Verifier, bound, check, user_of
from kybern.auth.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, User
from kybern.machinery.errors import Unauthorized
from kybern.machinery.kind import Raw

REMEMBERED = 10.0
MOST_REMEMBERED = 10_000
INVALID = "invalid bearer token"
PROTOCOL = "base64url.bearer.authorization.k8s.io."
"""How browsers hand a token over on a WebSocket: in a subprotocol of this prefix. It is not a protocol to be chosen."""

NOBODY = User(ANONYMOUS, (ALL_UNAUTHENTICATED,))


class Headers(Protocol):
    """The headers of a request; aiohttp's are of this shape. Names match whatever their case."""

    def items(self) -> Iterable[tuple[str, str]]: ...


def many(headers: Headers) -> dict[str, tuple[str, ...]]:
    """Header names in lower case to all their values."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items():
        key = name.lower()
        found[key] = (*found.get(key, ()), value)
    return found


type Used = Callable[[Raw, str], Awaitable[None]]
"""Told of a token out of a Secret: the Secret, and "auto", "manual" or "invalid"."""


type Ask = Callable[[str, tuple[str, ...]], Awaitable[tuple[User, tuple[str, ...]] | None]]
"""Whose a token is and for which of the audiences it is good; None: not known there. Raises InvalidToken."""


async def _unnoticed(_secret: Raw, _sort: str) -> None:
    return


@dataclass(slots=True)
class Tokens:
    """Bearer tokens of service accounts, those of a file, and, when ``bootstrap`` is set, those of nodes that join.

    ``others`` are asked in their order about tokens that are none of these: issuers, and webhooks.
    """

    verifier: Verifier
    lookup: Lookup
    bootstrap: bool = False
    clock: Callable[[], float] = time.time
    static: Mapping[str, User] = field(default_factory=dict)
    used: Used = _unnoticed
    others: Sequence[Ask] = ()

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> tuple[User, tuple[str, ...]]:
        """The user and for which of the wanted audiences. Raises InvalidToken in upstream's words."""
        try:
            return await self._own(token, audiences)
        except InvalidToken as problem:
            if not self.others:
                raise
            return await self._asked(token, audiences or self.verifier.audiences, problem)

    async def _asked(
        self, token: str, audiences: tuple[str, ...], problem: InvalidToken
    ) -> tuple[User, tuple[str, ...]]:
        """What others say of a token that is none of ours. Raises InvalidToken with all that was said."""
        said = [str(problem)]
        for ask in self.others:
            try:
                found = await ask(token, audiences)
            except InvalidToken as refusal:
                said.append(str(refusal))
                continue
            if found is not None:
                return found
        texts = [text for text in dict.fromkeys(said) if text != INVALID]
        raise InvalidToken(", ".join(texts) or INVALID) from problem

    async def _own(self, token: str, audiences: tuple[str, ...]) -> tuple[User, tuple[str, ...]]:
        if self.static and (known := static_tokens.user_of(token, self.static)):
            return known, self._for(audiences)
        if self.bootstrap and (name := bootstrap_token.secret_name(token)):
            return await self._bootstrap(token, name, audiences)
        now = self.clock()
        if legacy := legacy_tokens.read(token):
            return await self._legacy(token, legacy, now), self._for(audiences)
        claims = self.verifier.read(token, now, audiences)
        found = await self._objects(bound(claims))
        check(claims, found, now)
        given = claims.audiences or self.verifier.audiences
        wanted = audiences or self.verifier.audiences
        return user_of(claims), tuple(audience for audience in given if audience in wanted)

    async def _legacy(self, token: str, claims: legacy_tokens.Claims, now: float) -> User:
        found = await self._objects(legacy_tokens.bound(claims))
        try:
            user = legacy_tokens.check(token, claims, self.verifier, found, now)
        except legacy_tokens.Marked:
            await self.used(found["secrets"] or {}, "invalid")
            raise
        await self.used(found["secrets"] or {}, "auto" if user.warnings else "manual")
        return user

    async def _objects(self, named: Iterable[tuple[str, str, str]]) -> dict[str, Raw | None]:
        """Objects may be younger than the cache: what is not there is looked for in storage."""
        return {
            plural: await self.lookup.get("", plural, namespace, name)
            or await self.lookup.get_live("", plural, namespace, name)
            for plural, namespace, name in named
        }

    async def _bootstrap(
        self, token: str, name: str, audiences: tuple[str, ...]
    ) -> tuple[User, tuple[str, ...]]:
        secret = await self.lookup.get("", "secrets", bootstrap_token.NAMESPACE, name)
        user = bootstrap_token.user_of(token, secret, self.clock())
        if user is None:
            raise InvalidToken(INVALID)
        return user, self._for(audiences)

    def _for(self, audiences: tuple[str, ...]) -> tuple[str, ...]:
        """For whom a token that names no audience is meant: for this server. Raises InvalidToken when others ask."""
        if not audiences:
            return self.verifier.audiences
        wanted = tuple(one for one in audiences if one in self.verifier.audiences)
        if not wanted:
            raise InvalidToken(INVALID)
        return wanted


@dataclass(slots=True)
class Authenticator:
    """Gives every request its user. ``certificates`` or ``tokens`` may be absent; then what they would read is ignored.

    ``anonymous``: requests that bring nothing may come as nobody, to ``anonymous_paths`` alone if there are any.
    """

    certificates: Certificates | None = None
    tokens: Tokens | None = None
    anonymous: bool = True
    clock: Callable[[], float] = time.time
    anonymous_paths: frozenset[str] = frozenset()
    _bearers: dict[bytes, Bearer | None] = field(default_factory=dict, init=False)
    _sessions: dict[str, tuple[User, float]] = field(default_factory=dict, init=False)

    async def user_of(
        self, peer: bytes | None, authorization: str | None, headers: Headers | None = None, path: str = ""
    ) -> User:
        """The user of a request. Raises Unauthorized.

        ``peer`` is the client certificate that TLS has verified, as DER; ``authorization`` the header of that name.
        ``headers`` serve front proxies and WebSockets, and are looked at only when these are in use.
        """
        if peer is not None and self.certificates is not None:
            user = self._certified(self.certificates, peer, headers)
            if user is not None:
                return user
        token = _bearer(authorization) or (_protocol_token(headers) if headers is not None else "")
        if token and self.tokens is not None:
            return await self._tokened(self.tokens, token)
        if token or not self.anonymous or self._refused(peer):
            raise Unauthorized("Unauthorized")
        if self.anonymous_paths and path not in self.anonymous_paths:
            raise Unauthorized("Unauthorized")
        return NOBODY

    def _refused(self, peer: bytes | None) -> bool:
        """Whether somebody came with a certificate that gives him no name: of a front proxy that may not speak, for one."""
        return peer is not None and self.certificates is not None and bool(self.certificates.proxies)

    def _certified(self, certificates: Certificates, peer: bytes, headers: Headers | None) -> User | None:
        try:
            bearer = self._bearers[peer]
        except KeyError:
            bearer = self._learn(certificates, peer)
        if bearer is None:
            return None
        if bearer.expires < self.clock():
            raise Unauthorized("Unauthorized")
        CLIENTS.used(bearer.expires)
        if bearer.user is not None:
            return bearer.user
        user = certificates.spoken_for(many(headers)) if headers is not None else None
        return user and authenticated(user)

    def _learn(self, certificates: Certificates, peer: bytes) -> Bearer | None:
        if len(self._bearers) >= MOST_REMEMBERED:
            self._bearers.clear()
        bearer = certificates.bearer(peer)
        if bearer is not None and bearer.user is not None:
            bearer = replace(bearer, user=authenticated(bearer.user))
        self._bearers[peer] = bearer
        return bearer

    async def _tokened(self, tokens: Tokens, token: str) -> User:
        now = self.clock()
        known = self._sessions.get(token)
        if known is not None and known[1] > now:
            return known[0]
        try:
            user, _ = await tokens.authenticate(token)
        except InvalidToken as error:
            self._sessions.pop(token, None)
            raise Unauthorized("Unauthorized") from error
        if len(self._sessions) >= MOST_REMEMBERED:
            self._sessions.clear()
        user = authenticated(user)
        self._sessions[token] = (user, now + REMEMBERED)
        return user


def authenticated(user: User) -> User:
    """The user as a member of the group of all that proved who they are."""
    if ALL_AUTHENTICATED in user.groups or ALL_UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, ALL_AUTHENTICATED))


def _bearer(authorization: str | None) -> str:
    """The token of an Authorization header; "" for other schemes, which are left alone."""
    if not authorization:
        return ""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.split(" ")[0] if scheme.lower() == "bearer" else ""


def _protocol_token(headers: Headers) -> str:
    for name, value in headers.items():
        if name.lower() == "sec-websocket-protocol":
            for protocol in value.split(","):
                if protocol.strip().startswith(PROTOCOL):
                    return _decoded(protocol.strip().removeprefix(PROTOCOL))
    return ""


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unauthorized("Unauthorized") from error
