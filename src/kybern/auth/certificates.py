"""What a verified client certificate says: the user, or a front proxy that speaks for users by headers.

TLS has verified the chain already. When the server trusts two authorities, one for clients and one for front proxies,
TLS cannot tell which of them it was, so ``Certificates`` looks at the issuer itself: a certificate of the proxies'
authority never becomes a user of its own.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from kybern.auth.tokens import EXTRA
from kybern.auth.user import User
from kybern.auth.x509 import client_identity

_UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")

type Headers = Mapping[str, tuple[str, ...]]
"""Header names in lower case to their values, in order."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who holds a certificate. ``proxy`` is the proxy's common name; a user and a proxy exclude each other."""

    user: User | None
    proxy: str
    expires: float


@dataclass(frozen=True, slots=True)
class ProxyHeaders:
    """Where front proxies write whom they speak for, and which of them may (no names: all that are certified)."""

    names: tuple[str, ...] = ()
    username: tuple[str, ...] = ("x-remote-user",)
    uid: tuple[str, ...] = ("x-remote-uid",)
    groups: tuple[str, ...] = ("x-remote-group",)
    extra_prefixes: tuple[str, ...] = ("x-remote-extra-",)

    def bears(self, header: str) -> bool:
        """Whether a header (in lower case) is one of these."""
        named = header in self.username or header in self.uid or header in self.groups
        return named or header.startswith(self.extra_prefixes)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The authorities of client certificates. Without ``proxies`` every certificate is a client's."""

    clients: tuple[x509.Certificate, ...] = ()
    proxies: tuple[x509.Certificate, ...] = ()
    headers: ProxyHeaders = field(default_factory=ProxyHeaders)

    def bearer(self, der: bytes) -> Bearer | None:
        """Who holds a certificate; None when it stands for nobody."""
        certificate = x509.load_der_x509_certificate(der)
        name, groups = client_identity(certificate)
        expires = certificate.not_valid_after_utc.timestamp()
        if self.proxies and _issued(certificate, self.proxies):
            allowed = not self.headers.names or name in self.headers.names
            return Bearer(None, name, expires) if allowed else None
        if not name or (self.proxies and not _issued(certificate, self.clients)):
            return None
        uids = certificate.subject.get_attributes_for_oid(_UID)
        extra = {EXTRA + "credential-id": (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
        return Bearer(User(name, groups, str(uids[0].value) if uids else "", extra), "", expires)

    def spoken_for(self, headers: Headers) -> User | None:
        """The user that a front proxy speaks for."""
        names = self.headers
        name = _first(headers, names.username)
        if not name:
            return None
        groups = tuple(value for header in names.groups for value in headers.get(header, ()))
        extra: dict[str, tuple[str, ...]] = {}
        for prefix in names.extra_prefixes:
            for header, values in headers.items():
                if header.startswith(prefix):
                    key = unquote(header.removeprefix(prefix))
                    extra[key] = extra.get(key, ()) + values
        return User(name, groups, _first(headers, names.uid), extra)


def _first(headers: Headers, names: tuple[str, ...]) -> str:
    return next((headers[name][0] for name in names if headers.get(name)), "")


def _issued(certificate: x509.Certificate, authorities: tuple[x509.Certificate, ...]) -> bool:
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False
