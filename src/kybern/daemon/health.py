"""The port on which a daemon tells how it is: /healthz, /livez, /readyz, /metrics, and what it is: /statusz, /flagz.

Each check is a function (or coroutine function) that raises when something is wrong; its first line of text is the
reason. ``/healthz/NAME`` asks one check; ``?verbose`` lists all; ``?exclude=NAME`` leaves one out. The words are
upstream's (apiserver/pkg/server/healthz), since load balancers and people read them.
"""

import asyncio
import inspect
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from kybern.daemon import slis
from kybern.daemon.zpages import Page, Pages

log = logging.getLogger(__name__)

# Upstream's metrics have no series that tell when others were made.
disable_created_metrics()  # type: ignore[no-untyped-call]

type Check = Callable[[], Awaitable[None] | None]
type Guard = Callable[[web.Request], Awaitable[web.Response | None]]

_PATHS = ("healthz", "livez", "readyz")
PATHS = ("/flagz", "/healthz", "/livez", "/metrics", "/metrics/slis", "/readyz", "/statusz")
"""Everything that is served here, for the page that lists it."""
_PATIENCE = 5.0
EVERYWHERE = ("", "0.0.0.0", "::")


async def _failure(check: Check) -> str:
    """Why a check fails, or nothing."""
    try:
        async with asyncio.timeout(_PATIENCE):
            found = check()
            if inspect.isawaitable(found):
                await found
    except Exception as problem:  # a check says what is wrong by raising, whatever it is
        return str(problem) or type(problem).__name__
    return ""


def _answer(path: str, checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        excluded = dict.fromkeys(request.query.getall("exclude", []))
        lines, failed = [], []
        for name, check in {"ping": lambda: None, **checks}.items():
            if name in excluded:
                del excluded[name]
                lines.append(f"[+]{name} excluded: ok")
                continue
            reason = await _failure(check)
            slis.observe(path, name, good=not reason)
            if reason:
                failed.append(name)
                log.info("%s check failed: %s: %s", path, name, reason)
            lines.append(f"[-]{name} failed: reason withheld" if reason else f"[+]{name} ok")
        if excluded:
            unknown = ", ".join(f'"{name}"' for name in excluded)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
        if failed:
            text = "\n".join([*lines, f"{path} check failed", ""])
            return web.Response(status=500, text=text)
        if "verbose" in request.query:
            return web.Response(text="\n".join([*lines, f"{path} check passed", ""]))
        return web.Response(text="ok")

    return answer


def _single(path: str, name: str, check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        reason = await _failure(check)
        if reason:
            log.info("%s check failed: %s: %s", path, name, reason)
            return web.Response(status=500, text=f"internal server error: {reason}")
        return web.Response(text="ok")

    return answer


async def metrics(request: web.Request) -> web.Response:
    """Everything in prometheus_client's registry; usable as a handler in any application."""
    return _measured(request, REGISTRY)


def _measured(request: web.Request, registry: CollectorRegistry) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(registry), headers={"Content-Type": content_type})


def show(app: web.Application, path: str, registry: CollectorRegistry) -> None:
    """Add metrics that are read apart from the others."""

    async def answer(request: web.Request) -> web.Response:
        return _measured(request, registry)

    app.router.add_get(path, answer)


def tell(app: web.Application, path: str, checks: Mapping[str, Check]) -> None:
    """Add one of the paths of health, such as readyz, and one below it for each check."""
    app.router.add_get(f"/{path}", _answer(path, checks))
    for name, check in {"ping": lambda: None, **checks}.items():
        app.router.add_get(f"/{path}/{name}", _single(path, name, check))


def about(app: web.Application, pages: Pages) -> None:
    """Add the pages of a daemon to an application that has others."""

    async def statusz(request: web.Request) -> web.Response:
        return _shown(pages.statusz(request.headers.get("Accept", ""), time.time()))

    async def flagz(request: web.Request) -> web.Response:
        return _shown(pages.flagz(request.headers.get("Accept", "")))

    app.router.add_get("/statusz", statusz)
    app.router.add_get("/flagz", flagz)


def _shown(page: Page) -> web.Response:
    return web.Response(body=page.body, status=page.code, headers={"Content-Type": page.content_type})


def application(
    checks: Mapping[str, Check],
    guard: Guard | None = None,
    *,
    open_health: bool = True,
    metrics_here: bool = True,
    pages: Pages | None = None,
    paths: Sequence[str] = _PATHS,
) -> web.Application:
    """The routes. ``guard`` answers who may not pass (None: may); for health paths it is asked unless they are open.

    ``metrics_here`` False: the caller answers /metrics itself. ``pages`` are the daemon's, if it has any.
    ``paths`` are those of health.
    """
    free = _PATHS if open_health else ()

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if guard is not None and request.path.split("/")[1] not in free:
            refusal = await guard(request)
            if refusal is not None:
                return refusal
        return await handler(request)

    app = web.Application(middlewares=[guarded])
    for path in paths:
        tell(app, path, checks)
    if metrics_here:
        app.router.add_get("/metrics", metrics)
    show(app, "/metrics/slis", slis.REGISTRY)
    if pages is not None:
        about(app, pages)
    return app


async def serve_application(app: web.Application, bind: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Serve until cancelled. Any of the addresses that stand for all means all of both families, as in Go's programs."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        host = None if bind in EVERYWHERE else bind
        await web.TCPSite(runner, host, port, ssl_context=tls, reuse_address=True).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def serve(
    bind: str,
    port: int,
    checks: Mapping[str, Check] | None = None,
    tls: ssl.SSLContext | None = None,
    guard: Guard | None = None,
    *,
    pages: Pages | None = None,
) -> None:
    """Serve health and metrics until cancelled; port 0 serves nothing, as upstream's flags have it."""
    if port == 0:
        await asyncio.Event().wait()
    await serve_application(application(checks or {}, guard, pages=pages), bind, port, tls)
