"""The daemons beside this server, asked for their health as ComponentStatus tells it: by HTTPS on loopback.

Upstream assumes their usual ports, trusts any certificate and prints what its HTTP client says (pkg/registry/core/rest:
componentStatusStorage, pkg/probe/http).
"""

from collections.abc import Awaitable, Callable, Mapping

import aiohttp

PORTS: Mapping[str, int] = {"controller-manager": 10257, "scheduler": 10259}
_SECONDS = 3.0
_SHOWN = 10 * 1024


class Unwell(Exception):
    """It does not answer, or says that it is not well."""


def checks(ports: Mapping[str, int] = PORTS) -> Mapping[str, Callable[[], Awaitable[None]]]:
    """By component; a check raises Unwell."""
    return {name: _check(port) for name, port in ports.items()}


def _check(port: int) -> Callable[[], Awaitable[None]]:
    address = f"127.0.0.1:{port}"
    url = f"https://{address}/healthz"

    async def check() -> None:
        limit = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.get(url, ssl=False, allow_redirects=False) as answer,
            ):
                said = await answer.content.read(_SHOWN)
                code = answer.status
        except aiohttp.ClientConnectorError as problem:
            refused = isinstance(problem.os_error, ConnectionRefusedError)
            why = "connect: connection refused" if refused else str(problem)
            raise Unwell(f'Get "{url}": dial tcp {address}: {why}') from problem
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise Unwell(f'Get "{url}": {str(problem) or type(problem).__name__}') from problem
        if not 200 <= code < 400:
            raise Unwell(said.decode(errors="replace") or f"HTTP probe failed with statuscode: {code}")

    return check
