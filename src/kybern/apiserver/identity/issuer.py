"""Tokens of one issuer: found good by its keys, completed by what others hold of their claims, and mapped to a user.

Upstream: ``apiserver/plugin/pkg/authenticator/token/oidc``. An issuer that cannot be reached is looked for again and
again; until it is found its tokens are refused.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.apiserver.identity import metrics
from kybern.apiserver.identity.configuration import Issuer
from kybern.apiserver.identity.fetching import Fetching, Unreachable
from kybern.apiserver.identity.mapping import user_of
from kybern.apiserver.identity.provider import AGAIN, Provider
from kybern.auth.oidc.token import Checks, Token, parse
from kybern.auth.rules import quote
from kybern.auth.tokens import InvalidToken
from kybern.auth.user import User

log = logging.getLogger(__name__)

_MOST_HOLDERS = 64
_NAMES, _SOURCES = "_claim_names", "_claim_sources"


@dataclass(slots=True)
class JWTAuthenticator:
    """One issuer. ``ready`` is set once it was found; ``problem`` says why it was not."""

    issuer: Issuer
    ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    problem: str = field(default="", init=False)
    _fetching: Fetching = field(init=False)
    _provider: Provider = field(init=False)
    _holders: dict[str, Provider] = field(default_factory=dict, init=False)
    _finding: asyncio.Task[None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        setting = self.issuer.setting.issuer
        self._fetching = Fetching(setting.certificate_authority)
        checks = Checks(setting.url, setting.audiences, self.issuer.algorithms)
        self._provider = Provider(self._fetching, checks, setting.discovery_url, told=True)

    async def start(self) -> None:
        await self._fetching.start()
        self._finding = asyncio.create_task(self._find(), name=f"issuer {self.issuer.url}")

    async def close(self) -> None:
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.gather(self._finding, return_exceptions=True)
        await self._fetching.close()

    async def _find(self) -> None:
        while True:
            try:
                await self._provider.find()
            except Unreachable as problem:
                self.problem = str(problem)
                log.warning("oidc authenticator: initializing plugin: %s", problem)
                await asyncio.sleep(AGAIN)
                continue
            self.ready.set()
            return

    async def authenticate(self, token: Token) -> User:
        """Whose a token of this issuer is. Raises InvalidToken."""
        began = time.perf_counter()
        result = "failure"
        try:
            if not self._provider.found:
                raise InvalidToken("oidc: authenticator not initialized")
            try:
                await self._provider.verify(token)
            except InvalidToken as problem:
                raise InvalidToken(f"oidc: verify token: {problem}") from problem
            user = user_of(self.issuer, await self._expanded(token.claims))
            result = "success"
        finally:
            metrics.jwt_seconds.labels(result, metrics.digest(self.issuer.url)).observe(
                time.perf_counter() - began
            )
        return user

    async def _expanded(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the groups that somebody else holds, if the token says so (OpenID Connect Core 1.0, section 5.6.2)."""
        claim = self.issuer.setting.claim_mappings.groups.claim
        if not claim or claim in claims or _NAMES not in claims:
            return claims
        try:
            source = _source(claims, claim)
            if source is None:
                return claims
            return {**claims, claim: await self._held(claim, *source)}
        except (InvalidToken, Unreachable) as problem:
            raise InvalidToken(f"oidc: could not expand distributed claims: {problem}") from problem

    async def _held(self, claim: str, address: str, bearer: str) -> Any:
        """The claim, in a token of whoever holds it. Raises InvalidToken and Unreachable."""
        try:
            fetched = await self._fetching.get(address, bearer)
        except Unreachable as problem:
            raise InvalidToken(f"while getting distributed claim {quote(claim)}: {problem}") from problem
        token = parse(fetched.body.decode(errors="replace").strip())
        if token is None:
            raise InvalidToken(
                f"getting untrusted issuer from endpoint {address} failed for claim {quote(claim)}: malformed token"
            )
        provider = await self._holder(token.issuer)
        try:
            await provider.verify(token)
        except InvalidToken as problem:
            raise InvalidToken(f"verify distributed claim token: {problem}") from problem
        if claim not in token.claims:
            raise InvalidToken(
                f"jwt returned by distributed claim endpoint {quote(address)} did not contain claim: {claim}"
            )
        return token.claims[claim]

    async def _holder(self, url: str) -> Provider:
        """Whoever holds claims, found when first needed. Raises InvalidToken."""
        provider = self._holders.get(url)
        if provider is None:
            if len(self._holders) >= _MOST_HOLDERS:
                self._holders.clear()
            checks = Checks(url, self.issuer.setting.issuer.audiences, self.issuer.algorithms)
            provider = self._holders[url] = Provider(self._fetching, checks)
        if not provider.found:
            try:
                await provider.find()
            except Unreachable as problem:
                raise InvalidToken(f"verifying untrusted issuer {url} failed: {problem}") from problem
        return provider


def _source(claims: Mapping[str, Any], claim: str) -> tuple[str, str] | None:
    """Where a claim is held, and the token to ask there with; None: nowhere. Raises InvalidToken."""
    named, sources = claims[_NAMES], claims.get(_SOURCES)
    if not isinstance(named, Mapping):
        raise InvalidToken("oidc: error parsing distributed claim names")
    if sources is None:
        raise InvalidToken("oidc: no claim sources")
    if not isinstance(sources, Mapping):
        raise InvalidToken("oidc: could not parse claim sources")
    name = named.get(claim)
    if name is None:
        return None
    source = sources.get(name) if isinstance(name, str) else None
    if not isinstance(source, Mapping):
        raise InvalidToken(f"id token _claim_names contained a source {name} missing in _claims_sources")
    address, bearer = source.get("endpoint"), source.get("access_token")
    if not isinstance(address, str) or not address:
        return None  # an aggregated claim, perhaps
    return address, bearer if isinstance(bearer, str) else ""
