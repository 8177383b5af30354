"""Certificates: an authority that issues them, and what a client certificate says of its bearer.

Keys are ECDSA on P-256: a handshake costs a tenth of RSA's. Nothing here looks at a clock or a disk: ``now`` is
passed in, and what comes out is PEM. Only the making of keys and serial numbers draws on the system's randomness.

A certificate is *worn* when a third of its life or less is left; ``fits`` then says no, and whoever keeps it asks for
another. An authority backdates what it issues a little, so that a machine whose clock is behind accepts it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kybern.api import key_usages

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
BACKDATED = timedelta(minutes=5)
# Of its life, at most, for what we issue: a short one would be worn as soon as it is made otherwise.
BACKDATED_PART = 10

# As upstream orders them.
_PASSED_ON = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.UniformResourceIdentifier)

type PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
type Address = IPv4Address | IPv6Address | str


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    cert_pem: bytes
    key_pem: bytes


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate shall say. ``client`` and ``server`` are the uses it is good for."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ips: tuple[Address, ...] = ()
    client: bool = True
    server: bool = False
    days: float = LEAF_DAYS

    @property
    def names(self) -> x509.Name:
        # Organizations before the common name, as upstream's tools order them.
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in self.organizations]
        if self.common_name:
            attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, self.common_name))
        return x509.Name(attributes)

    @property
    def alternatives(self) -> tuple[x509.GeneralName, ...]:
        addresses = (
            x509.IPAddress(ip_address(str(address))) for address in dict.fromkeys(map(str, self.ips))
        )
        return (*(x509.DNSName(name) for name in dict.fromkeys(self.dns)), *addresses)

    @property
    def usages(self) -> tuple[x509.ObjectIdentifier, ...]:
        wanted = {ExtendedKeyUsageOID.SERVER_AUTH: self.server, ExtendedKeyUsageOID.CLIENT_AUTH: self.client}
        return tuple(usage for usage, asked in wanted.items() if asked)


class Authority:
    """A certificate and key that sign others."""

    def __init__(self, certificate: x509.Certificate, key: PrivateKey, now: datetime | None = None) -> None:
        self._certificate = certificate
        self._key = key
        self._now = now

    @classmethod
    def create(cls, common_name: str, now: datetime, days: int = AUTHORITY_DAYS) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(subject, subject, key.public_key(), (now - BACKDATED, now + timedelta(days=days)))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature", "key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key, now)

    @classmethod
    def load(cls, cert_pem: bytes, key_pem: bytes) -> Self:
        key = serialization.load_pem_private_key(key_pem, password=None)
        # Ours are elliptic curve keys; those of clusters made by others are RSA keys as a rule.
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError(f"the authority's key is {type(key).__name__}, neither elliptic curve nor RSA")
        return cls(x509.load_pem_x509_certificate(cert_pem), key)

    @property
    def cert_pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return private_pem(self._key)

    @property
    def pair(self) -> Pair:
        return Pair(self.cert_pem, self.key_pem)

    @property
    def certificate(self) -> x509.Certificate:
        return self._certificate

    def issue(  # noqa: PLR0913, PLR0917  # the fields of a certificate; ``issue_leaf`` takes them as one record
        self,
        common_name: str,
        organizations: Iterable[str] = (),
        dns: Iterable[str] = (),
        ips: Iterable[Address] = (),
        client: bool = True,
        server: bool = False,
        days: int = LEAF_DAYS,
        now: datetime | None = None,
    ) -> Pair:
        """A new key and its certificate. ``now`` may be left out only right after ``create``."""
        leaf = Leaf(common_name, tuple(organizations), tuple(dns), tuple(ips), client, server, days)
        return self.issue_leaf(leaf, now)

    def issue_leaf(self, leaf: Leaf, now: datetime | None = None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [
            (_key_usage("digital_signature", "key_encipherment"), True),
            *_extended(leaf.usages),
            *_alternative(leaf.alternatives, critical=False),
        ]
        backdated = min(BACKDATED, timedelta(days=leaf.days) / BACKDATED_PART)
        wish = _Wish(leaf.names, key.public_key(), leaf.days, extensions, backdated)
        certificate = self._sign(wish, now)
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), private_pem(key))

    def sign_csr(
        self,
        csr_pem: bytes,
        now: datetime | None = None,
        asked: Iterable[str] = ("digital signature", "key encipherment", "client auth"),
        days: float = LEAF_DAYS,
    ) -> bytes:
        """A certificate for the key and the names of a signing request, whose own signature must hold.

        ``asked``: the words of certificates.k8s.io for what it is good for, which the certificate says and no more.
        """
        csr = x509.load_pem_x509_csr(csr_pem)
        if not csr.is_signature_valid:
            raise ValueError("the request is not signed with its own key")
        words = tuple(asked)
        granted = key_usages.bits(words)
        extensions = [
            *([(_key_usage(*granted), True)] if granted else ()),
            *_extended(tuple(map(x509.ObjectIdentifier, key_usages.extended(words)))),
            *_names(csr),
        ]
        certificate = self._sign(_Wish(csr.subject, csr.public_key(), days, extensions), now)
        return certificate.public_bytes(serialization.Encoding.PEM)

    def issued(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def fits(self, pair: Pair, leaf: Leaf, now: datetime) -> bool:
        """Whether ``pair`` is what ``issue_leaf`` would make now, and is not worn."""
        try:
            certificate = x509.load_pem_x509_certificate(pair.cert_pem)
            key = serialization.load_pem_private_key(pair.key_pem, password=None)
        except ValueError:
            return False
        return (
            certificate.subject == leaf.names
            and _says(certificate, leaf)
            and key.public_key() == certificate.public_key()
            and self.issued(certificate)
            and not worn(certificate, now)
        )

    def _sign(self, wish: "_Wish", now: datetime | None) -> x509.Certificate:
        now = now or self._now
        if now is None:
            raise ValueError("a loaded authority needs to be told the time")
        # Nothing may outlive what vouches for it.
        until = min(now + timedelta(days=wish.days), self._certificate.not_valid_after_utc)
        builder = (
            _builder(wish.subject, self._certificate.subject, wish.key, (now - wish.backdated, until))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for extension, critical in wish.extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be signed; each extension with whether it is critical."""

    subject: x509.Name
    key: CertificatePublicKeyTypes
    days: float
    extensions: Sequence[tuple[x509.ExtensionType, bool]]
    backdated: timedelta = BACKDATED


def _extended(found: Sequence[x509.ObjectIdentifier]) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if found:
        yield x509.ExtendedKeyUsage(found), False


def _alternative(
    found: Sequence[x509.GeneralName], *, critical: bool
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if found:
        yield x509.SubjectAlternativeName(found), critical


def _names(csr: x509.CertificateSigningRequest) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """The alternative names of a request, of the four sorts that signers pass on; critical when there is no other name."""
    try:
        asked = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    found = [name for sort in _PASSED_ON for name in asked if isinstance(name, sort)]
    yield from _alternative(found, critical=not list(csr.subject))


def client_identity(certificate: x509.Certificate | bytes) -> tuple[str, tuple[str, ...]]:
    """User name and groups that a verified client certificate (DER when bytes) stands for: CN and every O."""
    if isinstance(certificate, bytes):
        certificate = x509.load_der_x509_certificate(certificate)
    return _identity(certificate.subject)


def worn(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a third of its life or less is left."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now <= life / 3


def signing_key() -> Pair:
    """A key for service account tokens: its public and private halves, in that order."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(public, private_pem(key))


def private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, life: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
    )


def _key_usage(*granted: str) -> x509.KeyUsage:
    all_ = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    asked: Mapping[str, bool] = {usage: usage in granted for usage in all_}
    return x509.KeyUsage(**asked)


def _identity(subject: x509.Name) -> tuple[str, tuple[str, ...]]:
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organizations = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(common[0].value) if common else "", tuple(str(attribute.value) for attribute in organizations)


def _alternatives(extensions: x509.Extensions) -> tuple[tuple[str, ...], tuple[Address, ...]]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    addresses = tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))
    return tuple(names.get_values_for_type(x509.DNSName)), addresses


def _says(certificate: x509.Certificate, leaf: Leaf) -> bool:
    dns, ips = _alternatives(certificate.extensions)
    try:
        found = frozenset(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        found = frozenset()
    return (
        frozenset(dns) == frozenset(leaf.dns)
        and frozenset(map(str, ips)) == frozenset(map(str, leaf.ips))
        and found == frozenset(leaf.usages)
    )
