"""The TLS side of a daemon's own port, from the flags that all daemons share.

With ``--tls-cert-file`` the pair is the operator's; without it one is made that lives as long as the process.
"""

import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from kybern.daemon.health import Guard
from kybern.daemon.run import Fatal
from kybern.daemon.tls import minimum_version, self_signed, server_context


def context(flags: Mapping[str, Any]) -> ssl.SSLContext:
    """For the values of --tls-cert-file, --tls-private-key-file and --client-ca-file. Raises Fatal.

    A daemon that has --tls-min-version and --tls-cipher-suites gets those as well.
    """
    minimum = flags.get("tls-min-version") or minimum_version("")
    ciphers = ":".join(flags.get("tls-cipher-suites") or ())
    cert, key = flags["tls-cert-file"], flags["tls-private-key-file"]
    if bool(cert) != bool(key):
        raise Fatal("cannot serve: give --tls-cert-file and --tls-private-key-file together, or neither")
    if cert:
        return server_context(cert, key, flags["client-ca-file"], minimum=minimum, ciphers=ciphers)
    with tempfile.TemporaryDirectory(prefix="kybern-serving-") as directory:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = minimum
        if ciphers:
            made.set_ciphers(ciphers)
        made.load_cert_chain(*self_signed((socket.gethostname(), "localhost", "127.0.0.1"), Path(directory)))
    if flags["client-ca-file"]:
        made.load_verify_locations(flags["client-ca-file"])
        made.verify_mode = ssl.CERT_OPTIONAL
    return made


_REFUSALS = {
    401: "present a client certificate of the cluster's authority, or a bearer token",
    403: "the token's owner may not get this path; give him a ClusterRole with it among nonResourceURLs",
    500: "the API server does not say who may",
}

type Ask = Callable[[str, str], Awaitable[int]]
"""Whether the bearer of a token may read a path, as an HTTP status."""


def known_clients(allowed: Iterable[str] = (), ask: Ask | None = None) -> Guard:
    """A guard: anything but health is for who presents a certificate of the cluster's authority, or a token that may.

    ``allowed`` are paths that anybody may read (--authorization-always-allow-paths); * at the end stands for any rest.
    """
    exact = frozenset(path for path in allowed if not path.endswith("*"))
    begins = tuple(path.removesuffix("*") for path in allowed if path.endswith("*"))

    async def guard(request: web.Request) -> web.Response | None:
        transport = request.transport
        known = transport is not None and transport.get_extra_info("peercert")
        if known or request.path in exact or (begins and request.path.startswith(begins)):
            return None
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        code = await ask(token, request.path) if ask and kind.lower() == "bearer" and token else 401
        if code == 200:
            return None
        return web.Response(status=code, text=f"cannot show {request.path}: {_REFUSALS[code]}\n")

    return guard
