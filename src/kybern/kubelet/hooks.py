"""Lifecycle hooks of containers: exec, httpGet, sleep (and tcpSocket, which upstream keeps for old objects)."""

import asyncio
from urllib.parse import urlsplit

import aiohttp

from kybern.api.core_v1 import Container, HTTPGetAction, LifecycleHandler
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.probes import http, tcp
from kybern.kubelet.probes.target import NoPort, Target
from kybern.machinery.struct import replace

FALLBACK = "LifecycleHTTPFallback"
_AGENT = "kube-lifecycle/1.36"
_NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError, NoPort)


class HookFailed(Exception):
    """The hook did not do what it should; the message is upstream's."""


# A postStart hook has no limit of its own; this one keeps a pod from hanging for ever.
_LONGEST = 3600.0


async def run(
    handler: LifecycleHandler, runtime: Runtime, container: Container, instance: str, ip: str
) -> str:
    """Run a hook to its end; raises HookFailed. Limits of time are the caller's. What is to be told, or nothing."""
    if handler.exec is not None:
        await _execute(handler.exec.command, runtime, instance)
    elif handler.http_get is not None:
        return await _get(handler.http_get, Target(runtime, instance, container, ip, 30.0, _AGENT))
    elif handler.tcp_socket is not None:
        outcome = await tcp.probe(handler.tcp_socket, Target(runtime, instance, container, ip, 5.0))
        if not outcome.ok:
            raise HookFailed(outcome.text)
    elif handler.sleep is not None:
        await asyncio.sleep(handler.sleep.seconds or 0)
    return ""


async def _get(action: HTTPGetAction, target: Target) -> str:
    """Any answer is as good as another: only whoever gives none has failed (upstream's runHTTPHandler)."""
    try:
        await http.get(action, target)
    except aiohttp.ClientConnectorSSLError as problem:
        if not http.speaks_plainly(problem):
            raise HookFailed(f"HTTP lifecycle hook failed: {problem}") from problem
        return await _get_plainly(action, target)
    except _NO_ANSWER as problem:
        raise HookFailed(f"HTTP lifecycle hook failed: {problem}") from problem
    return ""


async def _get_plainly(action: HTTPGetAction, target: Target) -> str:
    """The server was asked for HTTPS and speaks HTTP; it gets no credentials over that."""
    headers = tuple(found for found in action.http_headers if found.name.lower() != "authorization")
    plain = replace(action, scheme="HTTP", http_headers=headers)
    try:
        await http.get(plain, target)
    except _NO_ANSWER as problem:
        raise HookFailed(f"HTTP lifecycle hook failed: {problem}") from problem
    where = urlsplit(http.url_of(plain, target)).netloc
    return f"request to HTTPS lifecycle hook {where} got HTTP response, retry with HTTP succeeded"


async def _execute(command: tuple[str, ...], runtime: Runtime, instance: str) -> None:
    words = " ".join(command)
    try:
        code, output = await runtime.execute(instance, command, _LONGEST)
    except RuntimeFailure as problem:
        raise HookFailed(f"Exec lifecycle hook ([{words}]) failed - error: {problem}") from problem
    if code != 0:
        text = output[:1024].decode(errors="replace")
        raise HookFailed(
            f'Exec lifecycle hook ([{words}]) failed - error: command exited with {code}, message: "{text}"'
        )
