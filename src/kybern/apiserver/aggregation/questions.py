"""What this server itself asks aggregated servers: whether they are there, and what they serve.

It asks as a member of system:masters, so that no rights are in the way; an answer has a limit in time and in size.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from kybern.apiserver.aggregation.handing import Routes
from kybern.apiserver.aggregation.lines import Lines
from kybern.apiserver.aggregation.remote import OURSELVES, Remote, Trust, speaks_for
from kybern.apiserver.passing.places import host
from kybern.daemon.dialling import refusal
from kybern.machinery.errors import ServiceUnavailable

_SECONDS = 5.0
_MOST = 32 << 20


class NoAnswer(Exception):
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    media: str
    body: bytes
    tag: str = ""


class Questions:
    def __init__(self, routes: Routes, lines: Lines) -> None:
        self._routes = routes
        self._lines = lines

    async def check(self, remote: Remote) -> None:
        """Whether anybody answers for the group version, whoever it is: no certificate is verified. Raises NoAnswer."""
        url = ""
        try:
            url = await self._url(remote, remote.path)
            reply = await self._get(url, Trust(remote.trust.name, verify=False), {})
        except ServiceUnavailable as problem:
            raise NoAnswer(problem.message) from problem
        except NoAnswer as problem:
            raise NoAnswer(f'failing or missing response from {url}: Get "{url}": {problem}') from problem
        if not HTTPStatus.OK <= reply.code < HTTPStatus.MULTIPLE_CHOICES:
            raise NoAnswer(f"failing or missing response from {url}: bad status from {url}: {reply.code}")

    async def ask(self, remote: Remote, path: str, accept: str, tag: str = "") -> Reply:
        """``tag`` is of what is known already: 304 is the answer then. Raises NoAnswer."""
        fields = {"Accept": accept, **({"If-None-Match": tag} if tag else {})}
        try:
            return await self._get(await self._url(remote, path), remote.trust, fields)
        except ServiceUnavailable as problem:
            raise NoAnswer(problem.message) from problem

    async def _url(self, remote: Remote, path: str) -> str:
        return f"https://{host(*await self._routes.address(remote))}{path}"

    async def _get(self, url: str, trust: Trust, fields: Mapping[str, str]) -> Reply:
        try:
            line = self._lines.of(trust)
            async with (
                asyncio.timeout(_SECONDS),
                line.session.get(
                    url,
                    headers=[*speaks_for(OURSELVES), *fields.items()],
                    allow_redirects=False,
                    server_hostname=trust.name,
                ) as found,
            ):
                media, tag = found.headers.get("Content-Type", ""), found.headers.get("Etag", "")
                return Reply(found.status, media, await _whole(found), tag)
        except TimeoutError as problem:
            raise NoAnswer("context deadline exceeded") from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            parts = urlsplit(url)
            raise NoAnswer(refusal(problem, parts.hostname or "", parts.port or 443)) from problem


async def _whole(found: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in found.content.iter_any():
        size += len(part)
        if size > _MOST:
            raise NoAnswer(f"more than {_MOST} bytes")
        parts.append(part)
    return b"".join(parts)
