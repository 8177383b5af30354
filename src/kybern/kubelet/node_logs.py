"""/logs/: the node's own log files below /var/log, listed and sent as Go's file server does."""

import asyncio
import html
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

ROOT = Path("/var/log")


def listing(directory: Path) -> str:
    """The names in a directory, as links. Blocking."""
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in directory.iterdir())
    lines = (f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
    return f'<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{"".join(lines)}</pre>\n'


def inside(root: Path, below: str) -> Path | None:
    """The path of what is asked for; None when it lies outside, by dots or by a link. Blocking."""
    found = (root / below).resolve()
    return found if found == root.resolve() or root.resolve() in found.parents else None


class NodeLogs:
    """The handler."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/logs/{below:.*}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        found = await asyncio.to_thread(inside, self._root, request.match_info["below"])
        if found is None or not await asyncio.to_thread(found.exists):
            return web.Response(status=404, text="404 page not found\n")
        if await asyncio.to_thread(found.is_dir):
            if not request.path.endswith("/"):
                raise web.HTTPMovedPermanently(f"{request.path.rsplit('/', 1)[1]}/")
            return web.Response(text=await asyncio.to_thread(listing, found), content_type="text/html")
        return web.FileResponse(found)
