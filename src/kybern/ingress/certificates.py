"""TLS secrets, read and looked at before haproxy gets them: one that it would refuse must not stop all others. Pure."""

import base64

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from kybern.api.core_v1 import Secret

CERTIFICATE, KEY = "tls.crt", "tls.key"


class BadCertificate(ValueError):
    """What is wrong with a secret; the message never has any of what is in it."""


def pem(secret: Secret) -> str:
    """The chain and then its key, as haproxy reads them from one file."""
    parts = []
    for name in (CERTIFICATE, KEY):
        if name not in secret.data:
            raise BadCertificate(f"has no {name}")
        try:
            parts.append(base64.b64decode(secret.data[name], validate=True))
        except ValueError as problem:
            raise BadCertificate(f"has a {name} that is not base64") from problem
    _check(*parts)
    return "".join(f"{part.decode().strip()}\n" for part in parts)


def _check(certificate: bytes, key: bytes) -> None:
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except ValueError as problem:
        raise BadCertificate(f"has no certificate in {CERTIFICATE}") from problem
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise BadCertificate(f"has no key in {KEY} that can be used") from problem
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        raise BadCertificate(f"has a {KEY} that does not belong to its {CERTIFICATE}")
