"""Who may ask this kubelet what: the client's certificate or token, then the API server's word.

Asking is remembered for a short while, by who asks what, so that a scraper does not ask twice a minute. Rules are
upstream's: what a path means in terms of RBAC is a subresource of this node (``nodes/log``, ``nodes/metrics``,
``nodes/proxy`` ...); finer names are asked for first, and ``proxy`` allows them all.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from kybern.api.authentication_v1 import TokenReview, TokenReviewSpec
from kybern.api.authorization_v1 import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kybern.client.verbs import Verbs
from kybern.machinery.errors import ApiError

log = logging.getLogger(__name__)

_MOST = 1000
_VERBS: Mapping[str, str] = {
    "GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
}  # fmt: skip
_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "stats": ("stats",),
    "metrics": ("metrics",),
    "logs": ("log",),
    "spec": ("spec",),
    "checkpoint": ("checkpoint",),
    "healthz": ("healthz", "proxy"),
    "configz": ("configz", "proxy"),
    "statusz": ("statusz",),
    "flagz": ("configz",),
    "pods": ("pods", "proxy"),
    "runningpods": ("pods", "proxy"),
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


_ANONYMOUS = Asker("system:anonymous", ("system:unauthenticated",))


def subresources(path: str) -> tuple[str, ...]:
    """What a path is called in RBAC, most specific first. Pure."""
    return _PREFIXES.get(path.strip("/").split("/")[0], ("proxy",))


def of_certificate(found: Mapping[str, Any] | None) -> Asker | None:
    """The subject of a verified certificate, in the form of ``ssl.SSLSocket.getpeercert``. Pure."""
    if not found:
        return None
    parts = [pair for group in found.get("subject", ()) for pair in group]
    name = next((value for key, value in parts if key == "commonName"), "")
    groups = tuple(value for key, value in parts if key == "organizationName")
    return Asker(name, (*groups, "system:authenticated")) if name else None


@dataclass(frozen=True, slots=True)
class Memory:
    """For how many seconds answers are believed."""

    allowed: float = 300.0
    refused: float = 30.0
    token: float = 120.0


_MEMORY = Memory()


class Access:
    """The guard of the server. ``client`` None: authorization AlwaysAllow without an API server."""

    def __init__(
        self,
        client: Verbs | None,
        node: str,
        memory: Memory = _MEMORY,
        *,
        webhook: bool,
        tokens: bool,
        anonymous: bool,
    ) -> None:
        self._memory = memory
        self._client = client
        self._node = node
        self._webhook = webhook
        self._tokens = tokens
        self._anonymous = anonymous
        self._known: dict[Any, tuple[bool, float]] = {}
        self._askers: dict[str, tuple[Asker | None, float]] = {}

    async def guard(self, request: web.Request) -> web.Response | None:
        """A refusal, or None for who may pass."""
        asker = await self._asker(request)
        if asker is None:
            return web.Response(status=401, text="Unauthorized")
        verb = _VERBS.get(request.method, "")
        names = subresources(request.path)
        if not self._webhook:
            return None
        for name in names:
            try:
                if await self._may(asker, verb, name):
                    return None
            except ApiError as problem:
                log.warning("cannot ask whether %s may %s nodes/%s: %s", asker.name, verb, name, problem)
                text = f"Authorization error (user={asker.name}, verb={verb}, resource=nodes, subresource={name})"
                return web.Response(status=500, text=text)
        text = f"Forbidden (user={asker.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(names)}])\n"
        return web.Response(status=403, text=text)

    async def _asker(self, request: web.Request) -> Asker | None:
        transport = request.transport
        found = of_certificate(transport.get_extra_info("peercert") if transport is not None else None)
        if found is not None:
            return found
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token and self._tokens:
            return await self._of_token(token)
        return _ANONYMOUS if self._anonymous else None

    async def _of_token(self, token: str) -> Asker | None:
        known, now = self._askers.get(token), time.monotonic()
        if known is not None and now < known[1]:
            return known[0]
        if self._client is None:
            return None
        try:
            review = await self._client.create(TokenReview(spec=TokenReviewSpec(token=token)))
        except ApiError as problem:
            log.warning("cannot ask whose a token is: %s", problem)
            return None
        user = review.status.user
        asker = None
        if review.status.authenticated and user is not None:
            asker = Asker(user.username, tuple(user.groups), user.uid, tuple(user.extra.items()))
        if len(self._askers) > _MOST:
            self._askers.clear()
        self._askers[token] = (asker, now + self._memory.token)
        return asker

    async def _may(self, asker: Asker, verb: str, subresource: str) -> bool:
        key, now = (asker, verb, subresource), time.monotonic()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        if self._client is None:
            return False
        what = ResourceAttributes(
            verb=verb, version="v1", resource="nodes", subresource=subresource, name=self._node
        )
        spec = SubjectAccessReviewSpec(
            user=asker.name,
            groups=asker.groups,
            uid=asker.uid,
            extra=dict(asker.extra),
            resource_attributes=what,
        )
        review = await self._client.create(SubjectAccessReview(spec=spec))
        allowed = bool(review.status.allowed)
        if len(self._known) > _MOST:
            self._known.clear()
        self._known[key] = (allowed, now + (self._memory.allowed if allowed else self._memory.refused))
        return allowed
