"""TLS contexts whose files may change while a daemon runs.

What holds: a server presents the certificate that lies on disk at the time of the handshake, and trusts the client
authorities that lie there, without a task that watches files. OpenSSL calls back at the start of each handshake; there
the files' stamps are looked at, at most once a second, and a new context takes over when one changed. A pair that
cannot be loaded (half-written, not matching) leaves the old one in force and is logged.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kybern.daemon.files import replace_file

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts lie. ``client_ca`` empty: clients are not asked for a certificate."""

    cert: str
    key: str
    client_ca: str = ""

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when any of the files does."""
        found = [Path(path).stat() for path in (self.cert, self.key, self.client_ca) if path]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)


class _Reloading:
    """Makes a context anew when a file changed; called by OpenSSL at each handshake."""

    def __init__(self, files: Files, minimum: ssl.TLSVersion, ciphers: str) -> None:
        self._files = files
        self._minimum = minimum
        self._ciphers = ciphers
        self._stamp = files.stamp()
        self._looked = time.monotonic()
        self.context = self._made()

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        if self._ciphers:
            context.set_ciphers(self._ciphers)
        context.load_cert_chain(self._files.cert, self._files.key)
        if self._files.client_ca:
            context.load_verify_locations(self._files.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = self
        return context

    def __call__(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._refresh()
        if connection.context is not self.context:
            connection.context = self.context

    def _refresh(self) -> None:
        try:
            stamp = self._files.stamp()
            if stamp != self._stamp:
                self.context = self._made()
                self._stamp = stamp
                log.info("Reloaded the serving certificate %s", self._files.cert)
        except (OSError, ssl.SSLError) as problem:
            log.warning("cannot reload %s: %s; serving with the one loaded before", self._files.cert, problem)


def server_context(
    cert: str,
    key: str,
    client_ca: str = "",
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    ciphers: str = "",
) -> ssl.SSLContext:
    """For a server: certificate and key from files, clients optionally verified against ``client_ca``."""
    return _Reloading(Files(cert, key, client_ca), minimum, ciphers).context


def minimum_version(name: str) -> ssl.TLSVersion:
    """Of upstream's ``--tls-min-version`` (VersionTLS12, VersionTLS13; empty is 1.2)."""
    known = {
        "": ssl.TLSVersion.TLSv1_2,
        "VersionTLS12": ssl.TLSVersion.TLSv1_2,
        "VersionTLS13": ssl.TLSVersion.TLSv1_3,
    }
    if name not in known:
        raise ValueError(f'"{name}" is none of VersionTLS12, VersionTLS13')
    return known[name]


def ciphers(text: str) -> tuple[str, ...]:
    """OpenSSL's names of a comma-separated list (--tls-cipher-suites) that names suites as Go or OpenSSL do.

    Suites of TLS 1.3 are left out: as in Go, all of them are always on. Raises ValueError for an unknown one.
    """
    named = (one.strip() for one in text.split(","))
    found = tuple(_openssl_name(one) for one in named if one and one not in _ALWAYS_ON)
    for one in found:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(one)
        except ssl.SSLError:
            raise ValueError(f'cipher suite "{one}" not supported or doesn\'t exist') from None
    return found


_ALWAYS_ON = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def _openssl_name(name: str) -> str:
    """Such as ECDHE-RSA-AES128-SHA for TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA; names of OpenSSL's own stay."""
    exchange, mark, rest = name.removeprefix("TLS_").partition("_WITH_")
    if not mark:
        return name
    cipher = rest.replace("AES_", "AES").replace("_CBC", "").replace("POLY1305_SHA256", "POLY1305")
    cipher = cipher.replace("3DES_EDE", "DES_CBC3").replace("RC4_128", "RC4")
    return "-".join((*exchange.removeprefix("RSA").split("_"), *cipher.split("_"))).lstrip("-")


def client_context(
    ca: bytes = b"", cert: str = "", key: str = "", *, verify: bool = True, names: bool = True
) -> ssl.SSLContext:
    """For a client: trust ``ca`` (PEM; empty: the system's authorities), present ``cert`` and ``key`` from files.

    Not ``ssl.create_default_context``: since Python 3.13 that refuses certificates which Go accepts (no authority key
    identifier, for one), and clusters are full of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify or not names:
        context.check_hostname = False
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca:
        context.load_verify_locations(cadata=ca.decode("ascii"))
    else:
        context.load_default_certs()
    if cert:
        context.load_cert_chain(cert, key or cert)
    return context


async def follow(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Have a client's context present the pair that lies in these files, for ever; connections that are open stay."""
    files = Files(cert, key)
    stamp = files.stamp()
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        try:
            found = files.stamp()
            if found == stamp:
                continue
            # Tried first: one that cannot be used would leave the context without any.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key)
            context.load_cert_chain(cert, key)
            stamp = found
            log.info("Reloaded the client certificate %s", cert)
        except (OSError, ssl.SSLError) as problem:
            log.warning("cannot reload %s: %s; the one loaded before is shown", cert, problem)


def self_signed(names: Sequence[str], directory: Path) -> tuple[str, str]:
    """Write a self-signed serving pair into ``directory`` and give the two paths, as upstream does without a certificate."""
    # Only imported by who has no certificate: it costs ten megabytes.
    from kybern.daemon.self_signed import pair  # noqa: PLC0415

    cert, key = pair(names)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory / "serving.crt", directory / "serving.key"
    for path, content in zip(found, (cert, key), strict=True):
        replace_file(path, content)
    return str(found[0]), str(found[1])
