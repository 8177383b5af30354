"""Paths that are no resources: discovery, version, health, metrics, OpenAPI, and the list of them all."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from kybern.apiserver import discovery, negotiate
from kybern.apiserver.aggregation.lessons import Foreign
from kybern.apiserver.answer import Plain
from kybern.apiserver.negotiate import Form
from kybern.apiserver.render import Renderer
from kybern.apiserver.route import Table
from kybern.daemon import slis
from kybern.daemon.version import build
from kybern.machinery.errors import NotAcceptable
from kybern.machinery.kind import Raw
from kybern.storage.value import encoded

TEXT = "text/plain; charset=utf-8"
UNLISTED = "/debug/"
"""Pages below it are served and not told of."""
MISSING = b"404 page not found\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a plain path."""

    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """A body that is ready to send."""

    body: bytes
    content_type: str = "application/json"
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


type Check = Callable[[], Awaitable[None]]
type Page = Callable[[Asked], Given]


def not_found() -> Given:
    return Given(MISSING, TEXT, 404)


def _version() -> Raw:
    return {
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        **build(),
    }


class Health:
    """Named checks of /healthz, /livez and /readyz. A check raises when something is wrong."""

    def __init__(self) -> None:
        self.checks: dict[str, dict[str, Check]] = {"healthz": {}, "livez": {}, "readyz": {}}
        for name in ("ping", "log"):
            self.add(name, _fine)

    def add(self, name: str, check: Check, *endpoints: str) -> None:
        for endpoint in endpoints or tuple(self.checks):
            self.checks[endpoint][name] = check

    async def answer(self, asked: Asked) -> Given | None:
        endpoint, _, name = asked.path.strip("/").partition("/")
        checks = self.checks.get(endpoint)
        if checks is None:
            return None
        if name:
            return await self._single(checks, name)
        return await self._all(endpoint, checks, asked)

    async def _single(self, checks: Mapping[str, Check], name: str) -> Given:
        check = checks.get(name)
        if check is None:
            return not_found()
        reason = await _failure(check)
        if reason:
            return Given(f"internal server error: {reason}\n".encode(), TEXT, 500)
        return Given(b"ok", TEXT)

    async def _all(self, endpoint: str, checks: Mapping[str, Check], asked: Asked) -> Given:
        excluded = dict.fromkeys(value for key, value in asked.query.items() if key == "exclude")
        lines, failed = [], False
        for name, check in checks.items():
            if name in excluded:
                del excluded[name]
                lines.append(f"[+]{name} excluded: ok")
                continue
            good = not await _failure(check)
            slis.observe(endpoint, name, good=good)
            failed = failed or not good
            lines.append(f"[+]{name} ok" if good else f"[-]{name} failed: reason withheld")
        if excluded:
            unknown = ", ".join(f'"{name}"' for name in excluded)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
        if failed:
            return Given("\n".join([*lines, f"{endpoint} check failed", ""]).encode(), TEXT, 500)
        if "verbose" in asked.query:
            return Given("\n".join([*lines, f"{endpoint} check passed", ""]).encode(), TEXT)
        return Given(b"ok", TEXT)


async def _fine() -> None:
    return


async def _failure(check: Check) -> str:
    try:
        async with asyncio.timeout(4):
            await check()
    except Exception as problem:  # a check says what is wrong by raising, whatever it is
        return str(problem) or type(problem).__name__
    return ""


@dataclass(slots=True)
class Paths:
    """Answers them. ``pages`` are those that others add: OpenAPI, keys of service accounts.

    ``others`` gives the group versions that aggregated servers answer for. ``measure`` asks for what metrics tell that
    is not known here.
    """

    table: Table
    address: str
    health: Health = field(default_factory=Health)
    pages: dict[str, Page] = field(default_factory=dict)
    prefixes: dict[str, Page] = field(default_factory=dict)
    others: Callable[[], Sequence[Foreign]] = tuple
    measure: Check = _fine

    async def answer(self, asked: Asked) -> Given:
        path = asked.path.rstrip("/") or "/"
        found = await self.health.answer(asked)
        if found is not None:
            return found
        page = self.pages.get(path) or next(
            (page for start, page in self.prefixes.items() if path.startswith(start)), None
        )
        if page is not None:
            return page(asked)
        if path == "/metrics":
            await self.measure()
        return self._own(path, asked)

    def _own(self, path: str, asked: Asked) -> Given:
        if path in ("/api", "/apis"):
            return self._root(path, asked)
        if path == "/":
            return _indented({"paths": self.known()})
        if path == "/version":
            return self._version(asked)
        if path == "/metrics":
            encode, content_type = choose_encoder(asked.accept)
            return Given(encode(REGISTRY), content_type)
        return self._discovered(path, asked)

    def _version(self, asked: Asked) -> Given:
        if not any(kind in asked.accept for kind in ("json", "*/*")) and asked.accept:
            raise negotiate.unknown_media(("application/json",))
        return _indented(_version())

    def _root(self, path: str, asked: Asked) -> Given:
        media = negotiate.aggregated(asked.accept) if "as=APIGroupDiscoveryList" in asked.accept else ""
        if media:
            return _aggregated(discovery.aggregated(path == "/apis", self.table, self.others()), media, asked)
        if path == "/api":
            return self._document(discovery.api_versions(self.address), asked)
        return self._document(discovery.group_list(self.table, self.others()), asked)

    def _discovered(self, path: str, asked: Asked) -> Given:
        parts = path.strip("/").split("/")
        raw: Raw | None = None
        if parts[0] == "api" and len(parts) == 2:
            raw = self._resources("", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            raw = discovery.group(self.table, parts[1], self.others())
        elif parts[0] == "apis" and len(parts) == 3:
            raw = self._resources(parts[1], parts[2])
        if raw is None:
            return not_found()
        return self._document(raw, asked)

    def _resources(self, group: str, version: str) -> Raw | None:
        found = self.table.versions.get((group, version))
        return discovery.resource_list(found) if found else None

    def _document(self, raw: Raw, asked: Asked) -> Given:
        try:
            form = negotiate.negotiate(asked.accept, shapes=False)
        except NotAcceptable:
            raise negotiate.unknown_form(negotiate.KNOWN) from None
        people = negotiate.indented(asked.query, asked.headers.get("User-Agent", ""))
        return _rendered(raw, replace(form, pretty=people or form.pretty))

    def known(self) -> list[str]:
        """All paths, for the list at /."""
        found = {
            "/api",
            "/apis",
            "/apis/",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/openapi/v3/",
            "/version",
        }
        found |= {path for path in self.pages if not path.startswith(UNLISTED)}
        for group, version in self.table.versions:
            found |= {f"/apis/{group}", f"/apis/{group}/{version}"} if group else {f"/api/{version}"}
        for other in self.others():
            found |= {f"/apis/{other.group}", f"/apis/{other.name}"}
        for endpoint, checks in self.health.checks.items():
            found |= {f"/{endpoint}", *(f"/{endpoint}/{name}" for name in checks)}
        return sorted(found)


def _indented(raw: Raw) -> Given:
    """Documents that are no objects are answered in one form only, for people to read."""
    return Given(json.dumps(raw, indent=2).encode())


def _rendered(raw: Raw, form: Form) -> Given:
    body, content_type = Renderer(form, 0.0).body(Plain(raw))
    return Given(body, content_type)


def _aggregated(raw: Raw, media: str, asked: Asked) -> Given:
    """All of discovery; clients who have it already are told so, with the type of what they have."""
    tag = f'"{hashlib.sha512(encoded(raw)).hexdigest().upper()}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    kind = media + discovery.AGGREGATED
    if asked.headers.get("If-None-Match") == tag:
        return Given(b"", kind, 304, headers)
    return Given(_rendered(raw, Form(media)).body, kind, 200, headers)
