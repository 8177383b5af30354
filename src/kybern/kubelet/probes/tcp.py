"""A TCP connection: well when it is accepted."""

import asyncio
import os

from kybern.api.core_v1 import TCPSocketAction
from kybern.kubelet.probes.target import NoPort, Outcome, Target, port_of, within


async def probe(action: TCPSocketAction, target: Target) -> Outcome:
    host = action.host or target.ip
    try:
        port = port_of(target.container, action.port)
    except NoPort as problem:
        return Outcome(None, str(problem))
    try:
        async with asyncio.timeout(target.seconds):
            _reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {within(host, port)}: i/o timeout")
    except OSError as problem:
        reason = os.strerror(problem.errno).lower() if problem.errno else str(problem)
        return Outcome(False, f"dial tcp {within(host, port)}: connect: {reason}")
    writer.close()
    return Outcome(True)
