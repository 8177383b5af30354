"""/logs/: the node's own log files below /var/log, listed and sent as Go's file server does.

Where enableSystemLogQuery is set, ?query=SERVICE gives what a service logged: by the journal, or in a file of /var/log that
has its name.
"""

import asyncio
import html
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from kybern.kubelet.node_query import BadQuery, Query, arguments, check, query_of

log = logging.getLogger(__name__)

ROOT = Path("/var/log")
_BLOCK = 64 * 1024
_PATIENCE = 30.0

type Journal = Callable[[list[str]], AsyncIterator[bytes]]


async def journalctl(words: list[str]) -> AsyncIterator[bytes]:
    """What journalctl says to these words, as it says it; raises OSError where there is none."""
    process = await asyncio.create_subprocess_exec(
        "journalctl",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        while block := await process.stdout.read(_BLOCK):
            yield block
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def listing(directory: Path) -> str:
    """The names in a directory, as links. Blocking."""
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in directory.iterdir())
    lines = (f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
    return f'<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{"".join(lines)}</pre>\n'


def inside(root: Path, below: str) -> Path | None:
    """The path of what is asked for; None when it lies outside, by dots or by a link. Blocking."""
    found = (root / below.lstrip("/")).resolve()
    return found if found == root.resolve() or root.resolve() in found.parents else None


class NodeLogs:
    """The handler. ``queries``: whether services may be asked for."""

    def __init__(self, root: Path = ROOT, *, queries: bool = False, journal: Journal = journalctl) -> None:
        self._root = root
        self._queries = queries
        self._journal = journal

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/logs", self._get, allow_head=False)
        app.router.add_get("/logs/{below:.*}", self._get, allow_head=False)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        below = request.match_info.get("below", "")
        if self._queries:
            try:
                query = query_of(request.query)
                if query is not None:
                    return await self._answer(request, query)
            except BadQuery as problem:
                return web.Response(status=problem.status, text=f"{problem}\n")
        return await self._file(request, below)

    async def _answer(self, request: web.Request, query: Query) -> web.StreamResponse:
        if request.match_info.get("below", ""):
            return web.Response(status=406, text="path not allowed in query mode\n")
        check(query)
        if not query.files:
            return await self._services(request, query)
        name = query.files[0].replace("\\", "/")
        found = await asyncio.to_thread(inside, self._root, name)
        if found is None or not await asyncio.to_thread(found.exists):
            text = f"stat {self._root / name.lstrip('/')}: no such file or directory"
            raise BadQuery(406, [f'query: Invalid value: ["{query.files[0]}"]: {text}'])
        return await self._file(request, name)

    async def _file(self, request: web.Request, below: str) -> web.StreamResponse:
        found = await asyncio.to_thread(inside, self._root, below)
        if found is None or not await asyncio.to_thread(found.exists):
            return web.Response(status=404, text="404 page not found\n")
        if await asyncio.to_thread(found.is_dir):
            if not request.path.endswith("/"):
                raise web.HTTPMovedPermanently(f"{request.path.rsplit('/', 1)[1]}/")
            return web.Response(text=await asyncio.to_thread(listing, found), content_type="text/html")
        return web.FileResponse(found)

    async def _services(self, request: web.Request, query: Query) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain;charset=UTF-8"})
        if request.headers.get("Accept-Encoding") == "gzip":
            answer.enable_compression(web.ContentCoding.gzip)
        await answer.prepare(request)
        try:
            async with asyncio.timeout(_PATIENCE):
                async for block in self._said(query):
                    await answer.write(block)
        except TimeoutError:
            log.info("a query of the node's logs took more than %s s, and was cut off", _PATIENCE)
        await answer.write_eof()
        return answer

    async def _said(self, query: Query) -> AsyncIterator[bytes]:
        known = await self._units()
        native = [name for name in query.services if f"{name}.service" in known]
        others = [name for name in query.services if name not in native]
        if native:
            try:
                async for block in self._journal(arguments(query, native)):
                    yield block
            except OSError as problem:
                log.info("cannot ask the journal: %s", problem)
                yield b"\nerror: journal output not available\n"
        if others and query.has_options:
            text = f"options present and query resolved to log files for [{' '.join(others)}]"
            yield f"\n{text}\ntry without specifying options\n".encode()
            return
        for name in others:
            async for block in self._of_file(name):
                yield block

    async def _units(self) -> str:
        """The units that the journal knows; nothing where there is none."""
        try:
            return b"".join([block async for block in self._journal(["--field", "_SYSTEMD_UNIT"])]).decode(
                errors="replace"
            )
        except OSError:
            return ""

    async def _of_file(self, service: str) -> AsyncIterator[bytes]:
        path = await asyncio.to_thread(_file_of, self._root, service)
        if path is None:
            yield f"\nlog not found for {service}\n".encode()
            return
        try:
            blocks = _blocks(path)
            while block := await asyncio.to_thread(next, blocks, b""):
                yield block
        except OSError as problem:
            yield f"\nerror getting log for {service}: {problem.strerror}\n".encode()


def _file_of(root: Path, service: str) -> Path | None:
    """The file that a service logs to, by its name. Blocking."""
    candidates = (inside(root, name) for name in (service, f"{service}.log", f"{service}/{service}.log"))
    return next((path for path in candidates if path is not None and path.is_file()), None)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
