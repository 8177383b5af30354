"""The kubelet's serving certificate, asked of the cluster (serverTLSBootstrap) instead of signed by itself.

What holds: the pair is CERT-DIR/kubelet-server-current.pem, a link to the newest, and is replaced before it ends, and as
soon as the node has a name or an address that it is not for; whoever serves from it notices. Until the first one is signed
nothing is served, as with upstream: somebody has to approve of it. Nothing is asked for before the node has an address,
which it may get from its cloud (upstream: newGetTemplateFn).
"""

import asyncio
import ipaddress
import logging
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from kybern.client.verbs import Verbs
from kybern.daemon.run import Fatal
from kybern.kubelet import certificate_metrics
from kybern.kubelet.bootstrap import AGAIN, Wanted, certificate, due, held, pause, store
from kybern.machinery.errors import ApiError

log = logging.getLogger(__name__)

FILE = "kubelet-server-current.pem"
_SIGNER = "kubernetes.io/kubelet-serving"
_NAMES_EVERY = 10.0


def wanted(node: str, names: Iterable[str]) -> Wanted | None:
    """What is asked for: the node's certificate, for its names and addresses; None without an address. Pure."""
    places: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            places.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            places.append(x509.DNSName(name))
    if not any(isinstance(place, x509.IPAddress) for place in places):
        return None
    return Wanted(node, _SIGNER, ("digital signature", "server auth"), tuple(places))


def covers(pem: bytes, asked: Wanted) -> bool:
    """Whether a certificate is for all that is asked for; it may be for more. Raises ValueError. Pure."""
    found = x509.load_pem_x509_certificate(pem)
    called = [one.value for one in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if called != [f"system:node:{asked.node}"]:
        return False
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not asked.places
    return set(asked.places) <= set(names)


class ServingCertificate:
    """``run`` belongs into the daemon's TaskGroup; ``there`` is set once there is one; ``asked``: what is needed now."""

    def __init__(self, client: Verbs, asked: Callable[[], Wanted | None], directory: Path) -> None:
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
            asked = self._asked()
            well = asked is not None and await self.look(asked)
            seconds = await asyncio.to_thread(self._pause) if well else AGAIN
            await self._rest(seconds, asked)

    async def _rest(self, seconds: float, asked: Wanted | None) -> None:
        """So long, or until something else is needed."""
        limit = asyncio.get_running_loop().time() + seconds
        while self._asked() == asked:
            left = limit - asyncio.get_running_loop().time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, _NAMES_EVERY))

    async def look(self, asked: Wanted) -> bool:
        """Have a certificate that lasts; False when it could not be had now."""
        try:
            before = await asyncio.to_thread(held, self.path)
            if before is None or datetime.now(UTC) >= due(before, self._part) or not covers(before, asked):
                found, key = await certificate(self._client, asked)
                await asyncio.to_thread(store, self._directory, found, key, "server")
                log.info("Got a serving certificate")
                if before is not None:
                    age = datetime.now(UTC) - due(before, 0.0)
                    certificate_metrics.SERVER_ROTATION.observe(age.total_seconds())
                before = found
            certificate_metrics.SERVER_ENDS.at = due(before, 1.0)
        except (ApiError, Fatal, OSError, ValueError) as problem:
            certificate_metrics.SERVER_ERRORS.inc()
            log.warning("cannot get a serving certificate: %s", problem)
            return False
        self.there.set()
        return True

    def _pause(self) -> float:
        found = held(self.path)
        return AGAIN if found is None else pause(due(found, self._part), datetime.now(UTC))
