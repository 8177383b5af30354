"""/debug/: what runs in this process, and how much it logs; and the answers of those paths when they are switched off.

Profiles are Go's own; of them ``cmdline`` exists here, and ``goroutine``, which tells where every task is.
"""

import asyncio
import io
import logging
import sys
from collections.abc import Awaitable, Callable

from aiohttp import web

from kybern.daemon import logs

log = logging.getLogger(__name__)

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Prefixes that answer so when enableDebuggingHandlers is false, as upstream's kubelet.
_BEHIND = (
    "/run/", "/exec/", "/attach/", "/portForward/", "/containerLogs/", "/runningpods/", "/debug/pprof/", "/logs/",
)  # fmt: skip
_LONGEST = 64


def _refusing(text: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=405, text=f"{text}\n")

    return answer


def switched_off(app: web.Application) -> None:
    """The answers of all paths that are for looking into pods and into this process."""
    for path in _BEHIND:
        app.router.add_route("*", f"{path}{{rest:.*}}", _refusing("Debug endpoints are disabled."))


def no_logs(app: web.Application) -> None:
    app.router.add_route("*", "/logs/{rest:.*}", _refusing("logs endpoint is disabled."))


def routes(app: web.Application, *, profiling: bool, flags: bool) -> None:
    if profiling:
        app.router.add_get("/debug/pprof/{name:.*}", _profile, allow_head=False)
    else:
        app.router.add_route("*", "/debug/pprof/{rest:.*}", _refusing("profiling endpoint is disabled."))
    verbosity = _verbosity if flags else _refusing("flags endpoint is disabled.")
    app.router.add_route("*", "/debug/flags/v", verbosity)


async def _profile(request: web.Request) -> web.Response:
    match request.match_info["name"]:
        case "":
            lines = "\n".join(f'<a href="{name}">{name}</a>' for name in ("cmdline", "goroutine"))
            return web.Response(
                text=f"<html><body>/debug/pprof/<pre>\n{lines}\n</pre></body></html>\n",
                content_type="text/html",
            )
        case "cmdline":
            return web.Response(text="\0".join(sys.argv))
        case "goroutine":
            return web.Response(text=_tasks())
        case _:
            return web.Response(status=404, text="Unknown profile\n")


def _tasks() -> str:
    told = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=lambda one: one.get_name()):
        task.print_stack(file=told)
    return told.getvalue()


async def _verbosity(request: web.Request) -> web.Response:
    """Upstream's StringFlagPutHandler, with the verbosity of logs."""
    if request.method != "PUT":
        return web.Response(status=406, text="unsupported http method\n")
    text = (await request.content.read(_LONGEST)).decode(errors="replace")
    try:
        level = int(text)
    except ValueError:
        problem = (
            f'failed set klog.logging.verbosity {text}: strconv.ParseInt: parsing "{text}": invalid syntax'
        )
        return web.Response(status=400, text=f"{problem}\n")
    logs.level(level)
    log.info("the verbosity of logs is %s from now on", level)
    return web.Response(text=f"successfully set klog.logging.verbosity to {text}\n")
