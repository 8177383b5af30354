"""The kubelet's own identity: a kubeconfig that it was given, or a certificate that it asks for.

Without a kubeconfig, but with a bootstrap one (whose token may do no more than that), it makes a key, asks for a
certificate for ``system:node:NAME`` and waits until it is approved and signed. What it got is written as upstream has it:
CERT-DIR/kubelet-client-current.pem (certificate and key in one file, a link to the newest) and the kubeconfig that names
it. While it runs, it asks for another one when seven to nine tenths of its time are over; the client notices the new file
by itself. A certificate that has ended, as that of a machine that was off for long, is believed by nobody: another is asked
for with the bootstrap identity again, at the start (upstream: isClientConfigStillValid) and while it runs.
"""

import asyncio
import base64
import logging
import os
import random
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.client import kubeconfig
from kybern.client.identity import Identity
from kybern.client.kubeconfig import Config
from kybern.client.rest import Client
from kybern.client.verbs import Verbs
from kybern.daemon.files import replace_file
from kybern.daemon.run import Fatal
from kybern.kubelet import certificate_metrics
from kybern.kubelet.settings import Settings
from kybern.machinery.errors import ApiError, ServiceUnavailable, Timeout

log = logging.getLogger(__name__)

_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
_POLL = 1.0
_PATIENCE = 15 * 60.0
AGAIN = 30.0
"""Seconds until what failed is tried again."""
_LOOK = 600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate of a node's: who signs it, what it is for, and which names it is for when it serves."""

    node: str
    signer: str = _SIGNER
    usages: tuple[str, ...] = ("digital signature", "client auth")
    places: tuple[x509.GeneralName, ...] = ()


def request_of(wanted: Wanted) -> tuple[bytes, bytes]:
    """A signing request and its key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{wanted.node}"),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if wanted.places:
        request = request.add_extension(x509.SubjectAlternativeName(wanted.places), critical=False)
    made = request.sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def due(certificate: bytes, part: float) -> datetime:
    """When to ask for another: after this part of its time. Pure."""
    found = x509.load_pem_x509_certificate(certificate)
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    return begin + (end - begin) * part


def held(current: Path) -> bytes | None:
    """The certificate that there is; None for none, and for one that nobody can read, which is told."""
    try:
        found = current.read_bytes()
        due(found, 1.0)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        log.warning("cannot read the certificate %s: %s", current, problem)
        return None
    return found


def pause(due_at: datetime, now: datetime) -> float:
    """Seconds until the next look: in time for a certificate that lives for minutes, and soon after a clock was set.

    One that is due as soon as it comes is that by a clock which is years ahead, and so would be the next. Pure.
    """
    left = (due_at - now).total_seconds()
    return min(left, _LOOK) if left > 0 else _LOOK


async def certificate(client: Verbs, wanted: Wanted) -> tuple[bytes, bytes]:
    """Ask and wait: certificate and key. Raises Fatal when it is denied or not signed in time."""
    csr, key = request_of(wanted)
    spec = CertificateSigningRequestSpec(
        request=base64.b64encode(csr).decode(),
        signer_name=wanted.signer,
        usages=wanted.usages,
    )
    made = await client.create(
        CertificateSigningRequest(metadata=ObjectMeta(generate_name="csr-"), spec=spec)
    )
    log.info("Waiting for certificate signing request %s to be approved", made.metadata.name)
    limit = asyncio.get_running_loop().time() + _PATIENCE
    while asyncio.get_running_loop().time() < limit:
        for condition in made.status.conditions:
            if condition.type in ("Denied", "Failed"):
                raise Fatal(
                    f"certificate signing request {made.metadata.name} is {condition.type}: {condition.message}"
                )
        if made.status.certificate:
            return base64.b64decode(made.status.certificate), key
        await asyncio.sleep(_POLL)
        try:
            made = await client.get(CertificateSigningRequest, made.metadata.name)
        except (ServiceUnavailable, Timeout) as problem:
            # Somebody may be about to approve of it: another request would only stand beside it.
            log.warning("cannot see whether a certificate was signed: %s", problem)
    raise Fatal(f"certificate signing request {made.metadata.name} was not signed in time")


def store(directory: Path, cert: bytes, key: bytes, kind: str = "client") -> Path:
    """Write a pair and let the link point at it. ``kind``: client or server."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y-%m-%d-%H-%M-%S")
    path = directory / f"kubelet-{kind}-{stamp}.pem"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(cert + key)
    current = directory / f"kubelet-{kind}-current.pem"
    fresh = directory / f"kubelet-{kind}-current.pem.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(path.name)
    fresh.replace(current)
    return current


def usable(path: str, now: datetime) -> bool:
    """Whether a kubeconfig is there and has a certificate that has not ended; why it is not used is told."""
    if not Path(path).exists():
        return False
    try:
        config = kubeconfig.load(path)
        Identity(config).context()
        found = x509.load_pem_x509_certificates(config.cert_data or Path(config.cert_file).read_bytes())
    except (OSError, ssl.SSLError, ValueError) as problem:
        log.warning("cannot use kubeconfig %s, asking for another certificate: %s", path, problem)
        return False
    ends = min(one.not_valid_after_utc for one in found)
    if ends < now:
        log.warning("the certificate of kubeconfig %s ended at %s: asking for another one", path, ends)
    return ends >= now


async def first(settings: Settings, node: str) -> None:
    """Ask with the bootstrap identity, until there is an answer, and write the kubeconfig."""
    weak = kubeconfig.load(settings.bootstrap_kubeconfig)
    async with Client(weak) as client:
        while True:
            try:
                cert, key = await certificate(client, Wanted(node))
                break
            except ApiError as problem:
                log.warning("cannot ask for a certificate: %s", problem)
                await asyncio.sleep(_POLL * 5)
    directory = await asyncio.to_thread(Path(settings.cert_dir).absolute)
    current = store(directory, cert, key)
    strong = Config(
        server=weak.server, ca_data=weak.ca_data, ca_file=weak.ca_file, insecure=weak.insecure,
        server_name=weak.server_name, cert_file=str(current), key_file=str(current),
    )  # fmt: skip
    target = Path(settings.kubeconfig)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, kubeconfig.dump(strong, name="default").encode(), durable=True)


async def rotate(settings: Settings, config: Config, node: str) -> None:
    """Replace the certificate in time, for as long as the kubelet runs."""
    part = random.uniform(0.7, 0.9)  # noqa: S311  # no secret: so that nodes do not ask all at once
    current = Path(config.cert_file)
    async with Client(config) as client:
        while True:
            seconds = AGAIN
            try:
                found = await asyncio.to_thread(held, current)
                if found is None or datetime.now(UTC) >= due(found, part):
                    found, key = await _another(settings, client, node, found)
                    await asyncio.to_thread(store, current.parent, found, key)
                    log.info("Rotated the client certificate")
                certificate_metrics.CLIENT_ENDS.at = due(found, 1.0)
                seconds = pause(due(found, part), datetime.now(UTC))
            except (ApiError, Fatal, OSError, ValueError) as problem:
                certificate_metrics.CLIENT_ERRORS.inc()
                log.warning("cannot rotate the client certificate: %s", problem)
            await asyncio.sleep(seconds)


async def _another(settings: Settings, client: Verbs, node: str, before: bytes | None) -> tuple[bytes, bytes]:
    """Asked for with the certificate that there is, or with the bootstrap identity when that one has ended."""
    lasts = before is not None and datetime.now(UTC) < due(before, 1.0)
    if lasts or not settings.bootstrap_kubeconfig:
        return await certificate(client, Wanted(node))
    log.warning("there is no client certificate that lasts: asking with %s", settings.bootstrap_kubeconfig)
    async with Client(kubeconfig.load(settings.bootstrap_kubeconfig)) as weak:
        return await certificate(weak, Wanted(node))
