"""The kubelet's serving certificate, asked of the cluster (serverTLSBootstrap) instead of signed by itself.

What holds: the pair is CERT-DIR/kubelet-server-current.pem, a link to the newest, and is replaced before it ends; whoever
serves from it notices. Until the first one is signed nothing is served, as with upstream: somebody has to approve of it.
"""

import asyncio
import ipaddress
import logging
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from kybern.client.verbs import Verbs
from kybern.daemon.run import Fatal
from kybern.kubelet.bootstrap import AGAIN, Wanted, certificate, due, pause, store
from kybern.machinery.errors import ApiError

log = logging.getLogger(__name__)

FILE = "kubelet-server-current.pem"
_SIGNER = "kubernetes.io/kubelet-serving"


def wanted(node: str, names: Iterable[str]) -> Wanted:
    """What is asked for: the node's certificate, for its names and addresses. Pure."""
    places: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            places.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            places.append(x509.DNSName(name))
    return Wanted(node, _SIGNER, ("digital signature", "server auth"), tuple(places))


class ServingCertificate:
    """``run`` belongs into the daemon's TaskGroup; ``there`` is set once there is one."""

    def __init__(self, client: Verbs, asked: Wanted, directory: Path) -> None:
        self._client = client
        self._asked = asked
        self._directory = directory
        self._part = random.uniform(0.7, 0.9)  # noqa: S311  # no secret: so that nodes do not ask all at once
        self.there = asyncio.Event()

    @property
    def path(self) -> Path:
        return self._directory / FILE

    async def run(self) -> None:
        while True:
            well = await self.look()
            await asyncio.sleep(await asyncio.to_thread(self._pause) if well else AGAIN)

    async def look(self) -> bool:
        """Have a certificate that lasts; False when it could not be had now."""
        try:
            if not await asyncio.to_thread(self._lasts):
                cert, key = await certificate(self._client, self._asked)
                await asyncio.to_thread(store, self._directory, cert, key, "server")
                log.info("Got a serving certificate")
        except (ApiError, Fatal, OSError, ValueError) as problem:
            log.warning("cannot get a serving certificate: %s", problem)
            return False
        self.there.set()
        return True

    def _lasts(self) -> bool:
        try:
            return datetime.now(UTC) < self._due()
        except FileNotFoundError:
            return False

    def _due(self) -> datetime:
        return due(self.path.read_bytes(), self._part)

    def _pause(self) -> float:
        try:
            return pause(self._due(), datetime.now(UTC))
        except (OSError, ValueError) as problem:
            log.warning("cannot read the serving certificate %s: %s", self.path, problem)
            return AGAIN
