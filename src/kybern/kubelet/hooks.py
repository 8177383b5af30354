"""Lifecycle hooks of containers: exec, httpGet, sleep (and tcpSocket, which upstream keeps for old objects)."""

import asyncio
from urllib.parse import urlsplit

import aiohttp

from kybern.api.core_v1 import Container, HTTPGetAction, LifecycleHandler, Pod
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
    handler: LifecycleHandler, runtime: Runtime, pod: Pod, container: Container, instance: str, ip: str
) -> str:
    """Run a hook to its end; raises HookFailed. Limits of time are the caller's. What is to be told, or nothing."""
    meta = pod.metadata
    of = f'for Container "{container.name}" in Pod "{meta.name}_{meta.namespace}({meta.uid})"'
    if handler.exec is not None:
        await _execute(handler.exec.command, runtime, instance, of)
    elif handler.http_get is not None:
        try:
            return await _get(handler.http_get, Target(runtime, instance, container, ip, 30.0, _AGENT))
        except _NO_ANSWER as problem:
            text = f"HTTP lifecycle hook ({handler.http_get.path}) {of} failed - error: {problem}"
            raise HookFailed(text) from problem
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
            raise
        return await _get_plainly(action, target)
    return ""


async def _get_plainly(action: HTTPGetAction, target: Target) -> str:
    """The server was asked for HTTPS and speaks HTTP; it gets no credentials over that."""
    headers = tuple(found for found in action.http_headers if found.name.lower() != "authorization")
    plain = replace(action, scheme="HTTP", http_headers=headers)
    await http.get(plain, target)
    where = urlsplit(http.url_of(plain, target)).netloc
    return f"request to HTTPS lifecycle hook {where} got HTTP response, retry with HTTP succeeded"


async def _execute(command: tuple[str, ...], runtime: Runtime, instance: str, of: str) -> None:
    shown = f"Exec lifecycle hook ([{' '.join(command)}]) {of} failed - error:"
    try:
        code, output = await runtime.execute(instance, command, _LONGEST)
    except RuntimeFailure as problem:
        raise HookFailed(f'{shown} {problem}, message: ""') from problem
    if code != 0:
        text = output[:1024].decode(errors="replace")
        raise HookFailed(f"{shown} command '{' '.join(command)}' exited with {code}: , message: \"{text}\"")
