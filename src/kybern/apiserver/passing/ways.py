"""The server's ways to others: sessions that live as long as it does, each with its certificate and its trust."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from kybern.apiserver.passing.forward import session
from kybern.apiserver.subresources.log import Kubelets
from kybern.daemon import tls
from kybern.daemon.flags import Values


@dataclass(frozen=True, slots=True)
class Ways:
    """``behind`` and ``unverified`` are for what is behind a proxy: no certificate of ours, no look at theirs.

    ``hooks`` is for webhooks, each of which brings its own trust.
    """

    kubelets: Kubelets
    behind: aiohttp.ClientSession
    unverified: ssl.SSLContext
    hooks: aiohttp.ClientSession

    async def follow(self, values: Values) -> None:
        """Show the kubelets the certificate that lies on disk, for ever; nothing when there is none."""
        cert, key = values["kubelet-client-certificate"], values["kubelet-client-key"]
        if cert and self.kubelets.tls is not None:
            await tls.follow(self.kubelets.tls, cert, key)


@contextlib.asynccontextmanager
async def open_ways(values: Values) -> AsyncIterator[Ways]:
    trusted, unverified = _kubelet_context(values), tls.client_context(verify=False)
    async with (
        session(trusted) as kubelets,
        session(unverified) as behind,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as hooks,
    ):
        preferred = values["kubelet-preferred-address-types"]
        yield Ways(Kubelets(kubelets, preferred, tls=trusted), behind, unverified, hooks)


def _kubelet_context(values: Values) -> ssl.SSLContext:
    ca = values["kubelet-certificate-authority"]
    return tls.client_context(
        Path(ca).read_bytes() if ca else b"",
        values["kubelet-client-certificate"],
        values["kubelet-client-key"],
        verify=bool(ca),
    )
