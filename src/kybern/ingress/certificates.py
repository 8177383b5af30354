"""TLS secrets, read and looked at before haproxy gets them: one that it would refuse must not stop all others. Pure.

What is handed on is written anew from what was understood: whatever else stands in a secret, haproxy never reads it.
"""

import base64
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from kybern.api.core_v1 import Secret

CERTIFICATE, KEY = "tls.crt", "tls.key"
# What a certificate of anybody may hold that cannot be understood.
_STRANGE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)


class BadCertificate(ValueError):
    """What is wrong with a secret; the message never has any of what is in it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """``text`` is the chain and then its key in PEM, as haproxy reads them from one file; ``names`` those it is for."""

    names: tuple[str, ...]
    text: str = field(repr=False)


def pair(secret: Secret) -> Pair:
    """Raises BadCertificate."""
    return _understood(*(_data(secret, name) for name in (CERTIFICATE, KEY)))


@lru_cache(4096)  # a private key is tried for whether it is one, which takes longer than all else here
def _understood(certificate: bytes, key: bytes) -> Pair:
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except _STRANGE as problem:
        raise BadCertificate(f"has no certificate in {CERTIFICATE}") from problem
    try:
        private = load_pem_private_key(key, None)
        shown = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except _STRANGE as problem:
        raise BadCertificate(f"has no key in {KEY} that can be used") from problem
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        belongs = private.public_key().public_bytes(*form) == chain[0].public_key().public_bytes(*form)
        names = _names(chain[0])
    except _STRANGE as problem:
        raise BadCertificate(f"has a {CERTIFICATE} that cannot be used") from problem
    if not belongs:
        raise BadCertificate(f"has a {KEY} that does not belong to its {CERTIFICATE}")
    parts = (*(one.public_bytes(Encoding.PEM) for one in chain), shown)
    return Pair(names, "".join(part.decode() for part in parts))


def _data(secret: Secret, name: str) -> bytes:
    if name not in secret.data:
        raise BadCertificate(f"has no {name}")
    try:
        return base64.b64decode(secret.data[name], validate=True)
    except ValueError as problem:
        raise BadCertificate(f"has a {name} that is not base64") from problem


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Its DNS names in small letters; where it has none, its common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = found.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return tuple(dict.fromkeys(one.lower() for one in names or [str(one.value) for one in common]))
