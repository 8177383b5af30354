"""Where a daemon of a node tells its own machine how it is: /metrics and /healthz, /statusz and /flagz, by plain HTTP.

Nobody is asked who they are, so it listens on the loopback address unless told otherwise, as kube-proxy's metrics do. What
the daemon is for does not depend on it: while the address is taken by somebody else, that is told and tried again.
"""

import asyncio
import logging
from collections.abc import Mapping

from kybern.daemon import health
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal
from kybern.daemon.zpages import Pages

log = logging.getLogger(__name__)

NAME = "metrics-bind-address"
_AGAIN = 30.0  # seconds


def flag(found: Flags, port: int) -> Flags:
    return found.flag(
        f"--{NAME}",
        str,
        f"127.0.0.1:{port}",
        "Address of /metrics and /healthz; anybody who reaches it may read them. Empty for none.",
    )


def split(address: str, example: str) -> tuple[str, int]:
    """Host and port of an address such as 127.0.0.1:80 or [::1]:80. Raises Fatal, which shows an ``example``."""
    host, sign, port = address.rpartition(":")
    if not sign or not port.isdigit():
        raise Fatal(f'cannot listen on "{address}": give an address and a port, such as {example}')
    return host.strip("[]"), int(port)


async def serve(flags: Flags, values: Values, checks: Mapping[str, health.Check]) -> None:
    """Serve until cancelled. Raises Fatal for what is no address."""
    if not values[NAME]:
        return
    host, port = split(values[NAME], "127.0.0.1:10262")
    pages = Pages(flags.name, flags.shown(values), health.PATHS, emulates=False)
    while True:
        try:
            await health.serve(host, port, checks, pages=pages)
        except OSError as problem:
            log.warning(
                "cannot serve metrics on %s: %s; trying again in %.0f s",
                values[NAME],
                problem.strerror or problem,
                _AGAIN,
            )
        await asyncio.sleep(_AGAIN)
