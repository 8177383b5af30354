"""An HTTP GET: well when the status is 200 to 399. Certificates are not verified, redirects only followed on the host.

One that leads elsewhere is well, too, and is told.
"""

import os
import ssl
from urllib.parse import urljoin, urlsplit

import aiohttp

from kybern.api.core_v1 import HTTPGetAction
from kybern.daemon.tls import client_context
from kybern.kubelet.probes.target import NoPort, Outcome, Target, port_of, within

_MOST = 10 * 1024
_REDIRECTS = 10


def url_of(action: HTTPGetAction, target: Target) -> str:
    scheme = (action.scheme or "HTTP").lower()
    where = within(action.host or target.ip, port_of(target.container, action.port))
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    return f"{scheme}://{where}{path}"


def headers_of(action: HTTPGetAction, agent: str) -> list[tuple[str, str]]:
    given = [(header.name, header.value) for header in action.http_headers]
    names = {name.lower() for name, _value in given}
    usual = [("User-Agent", agent), ("Accept", "*/*")]
    return [*given, *((name, value) for name, value in usual if name.lower() not in names)]


async def get(action: HTTPGetAction, target: Target) -> tuple[int, str]:
    """Status and the beginning of the body, after redirects on the same host. Raises what aiohttp raises."""
    url = url_of(action, target)
    host = urlsplit(url).hostname
    tls: ssl.SSLContext | bool = client_context(verify=False) if url.startswith("https") else False
    limits = aiohttp.ClientTimeout(total=target.seconds)
    connector = aiohttp.TCPConnector(force_close=True, ssl=tls)
    headers = [header for header in headers_of(action, target.agent) if header[1]]
    # Nothing is unpacked: a few bytes could become more than the node has.
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=limits,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        auto_decompress=False,
    ) as session:
        for _hop in range(_REDIRECTS):
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                text = (await answer.content.read(_MOST)).decode(errors="replace")
                onward = answer.headers.get("Location", "")
                url = urljoin(url, onward)
                if answer.status not in (301, 302, 303, 307, 308) or not onward:
                    return answer.status, text
                if urlsplit(url).hostname != host:
                    return answer.status, text
    raise aiohttp.ClientError(f"stopped after {_REDIRECTS} redirects")


def speaks_plainly(problem: aiohttp.ClientConnectorSSLError) -> bool:
    """Whether a server answered in HTTP to who asked for HTTPS."""
    found = problem.os_error
    return isinstance(found, ssl.SSLError) and found.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")


async def probe(action: HTTPGetAction, target: Target) -> Outcome:
    try:
        status, text = await get(action, target)
    except TimeoutError:
        url = url_of(action, target)
        return Outcome(False, f'Get "{url}": context deadline exceeded')
    except aiohttp.ClientConnectorError as problem:
        where = within(action.host or target.ip, port_of(target.container, action.port))
        number = problem.os_error.errno
        reason = os.strerror(number).lower() if number and number > 0 else str(problem)
        return Outcome(False, f'Get "{url_of(action, target)}": dial tcp {where}: connect: {reason}')
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        if isinstance(problem, NoPort):
            return Outcome(None, str(problem))
        return Outcome(False, f'Get "{url_of(action, target)}": {problem}')
    return verdict(status, text)


def verdict(status: int, text: str) -> Outcome:
    """Of an answer. Pure."""
    if 300 <= status < 400:
        return Outcome(True, f"Probe terminated redirects, Response body: {text}", warns=True)
    if 200 <= status < 300:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")
