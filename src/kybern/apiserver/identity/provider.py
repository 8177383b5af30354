"""One issuer's keys: found by its discovery document, kept, and fetched again when a token is signed by none of them.

A key set that its server said is good for a while is not fetched again before (less ``EARLY`` seconds), so that tokens of
strangers are no way to make a server ask. Several who need new keys at once wait for one answer. This is how the library
that upstream uses does it (go-oidc 2).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from kybern.apiserver.identity import metrics
from kybern.apiserver.identity.fetching import Fetching, Unreachable
from kybern.auth.oidc.keys import BadKeys, Key, key_set
from kybern.auth.oidc.token import Checks, Token, signed_by
from kybern.auth.rules import quote
from kybern.auth.tokens import InvalidToken

WELL_KNOWN = "/.well-known/openid-configuration"
EARLY = 30.0
AGAIN = 10.0
"""Seconds after which an issuer that could not be found is looked for again."""


@dataclass(slots=True)
class Provider:
    """``discovery`` is where the document lies; ``told``: metrics tell of this issuer's keys."""

    fetching: Fetching
    checks: Checks
    discovery: str = ""
    told: bool = False
    clock: Callable[[], float] = time.time
    _address: str = field(default="", init=False)
    _keys: tuple[Key, ...] = field(default=(), init=False)
    _until: float = field(default=0.0, init=False)
    _generation: int = field(default=0, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def found(self) -> bool:
        return bool(self._address)

    async def find(self) -> None:
        """Read the discovery document. Raises Unreachable."""
        issuer = self.checks.issuer
        fetched = await self.fetching.get(self.discovery or issuer.removesuffix("/") + WELL_KNOWN)
        try:
            document = msgspec.json.decode(fetched.body)
        except msgspec.DecodeError as problem:
            raise Unreachable(f"oidc: failed to decode provider discovery object: {problem}") from problem
        named = document.get("issuer") if isinstance(document, Mapping) else None
        if named != issuer:
            raise Unreachable(
                "oidc: issuer did not match the issuer returned by provider, expected "
                f"{quote(issuer)} got {quote(str(named or ''))}"
            )
        address = document.get("jwks_uri")
        if not isinstance(address, str) or not address:
            raise Unreachable("provider did not return JWKS URL")
        self._address = address

    async def verify(self, token: Token) -> None:
        """Raises InvalidToken for a token that is not good."""
        self.checks.check(token, self.clock())
        generation = self._generation
        if signed_by(token, self._keys):
            return
        if self.clock() + EARLY < self._until:
            raise InvalidToken("failed to verify signature: failed to verify id token signature")
        try:
            await self._renew(generation)
        except (BadKeys, Unreachable) as problem:
            raise InvalidToken(f"failed to verify signature: fetching keys {problem}") from problem
        if not signed_by(token, self._keys):
            raise InvalidToken("failed to verify signature: failed to verify id token signature")

    async def _renew(self, generation: int) -> None:
        """Fetch the keys, unless that was done since ``generation``. Raises BadKeys and Unreachable."""
        async with self._lock:
            if self._generation != generation:
                return
            try:
                fetched = await self.fetching.get(self._address)
                self._keys = key_set(fetched.body)
            except (BadKeys, Unreachable):
                if self.told:
                    metrics.KEY_SETS.failed(self.checks.issuer)
                raise
            self._until = self.clock() + fetched.fresh
            self._generation += 1
            if self.told:
                metrics.KEY_SETS.fetched(self.checks.issuer, fetched.body)
