"""Lifecycle hooks of containers: exec, httpGet, sleep (and tcpSocket, which upstream keeps for old objects)."""

import asyncio

import aiohttp

from kybern.api.core_v1 import Container, LifecycleHandler
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.probes import http, tcp
from kybern.kubelet.probes.target import NoPort, Target


class HookFailed(Exception):
    """The hook did not do what it should; the message is upstream's."""


# A postStart hook has no limit of its own; this one keeps a pod from hanging for ever.
_LONGEST = 3600.0


async def run(
    handler: LifecycleHandler, runtime: Runtime, container: Container, instance: str, ip: str
) -> None:
    """Run a hook to its end; raises HookFailed. Limits of time are the caller's."""
    if handler.exec is not None:
        await _execute(handler.exec.command, runtime, instance)
    elif handler.http_get is not None:
        target = Target(runtime, instance, container, ip, 30.0, "kube-lifecycle/1.36")
        try:
            status, _text = await http.get(handler.http_get, target)
        except (aiohttp.ClientError, OSError, TimeoutError, NoPort) as problem:
            raise HookFailed(f"HTTP lifecycle hook failed: {problem}") from problem
        if status >= 400:
            raise HookFailed(f"HTTP lifecycle hook failed: status {status}")
    elif handler.tcp_socket is not None:
        outcome = await tcp.probe(handler.tcp_socket, Target(runtime, instance, container, ip, 5.0))
        if not outcome.ok:
            raise HookFailed(outcome.text)
    elif handler.sleep is not None:
        await asyncio.sleep(handler.sleep.seconds or 0)


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
