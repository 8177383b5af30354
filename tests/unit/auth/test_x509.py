"""The authority: what it issues says what was asked, lasts as long, and is recognised again."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kybern.auth.x509 import Authority, Leaf, Pair, client_identity, signing_key, worn

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KUBELET = Leaf("system:node:w1", ("system:nodes",))
SERVER = Leaf("w1", dns=("w1", "localhost"), ips=(IPv4Address("10.0.0.1"),), client=False, server=True)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("kubernetes", NOW)


def parse(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.cert_pem)


def test_an_authority_lasts_ten_years_and_may_sign_only_certificates(authority: Authority) -> None:
    certificate = authority.certificate

    assert certificate.not_valid_after_utc == NOW + timedelta(days=3650)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.key_encipherment


def test_a_leaf_says_what_was_asked_and_no_more(authority: Authority) -> None:
    certificate = parse(authority.issue_leaf(SERVER, NOW))

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["w1", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [IPv4Address("10.0.0.1")]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc == NOW + timedelta(days=365)


def test_a_leaf_does_not_outlive_its_authority() -> None:
    short = Authority.create("short", NOW, days=10)

    assert parse(short.issue("x", now=NOW)).not_valid_after_utc == NOW + timedelta(days=10)


def test_a_machine_whose_clock_is_behind_accepts_a_new_certificate(authority: Authority) -> None:
    assert parse(authority.issue("x", now=NOW)).not_valid_before_utc < NOW - timedelta(minutes=4)


def test_the_identity_is_the_common_name_and_every_organization(authority: Authority) -> None:
    pair = authority.issue("alice", ("staff", "system:masters"), now=NOW)
    der = parse(pair).public_bytes(serialization.Encoding.DER)

    assert client_identity(der) == ("alice", ("staff", "system:masters"))
    assert client_identity(parse(pair)) == ("alice", ("staff", "system:masters"))


def test_a_certificate_without_names_stands_for_nobody(authority: Authority) -> None:
    assert client_identity(parse(authority.issue("", now=NOW))) == ("", ())


def test_what_was_issued_fits_until_a_third_of_its_life_is_left(authority: Authority) -> None:
    pair = authority.issue_leaf(KUBELET, NOW)

    assert authority.fits(pair, KUBELET, NOW)
    assert authority.fits(pair, KUBELET, NOW + timedelta(days=243))
    assert not authority.fits(pair, KUBELET, NOW + timedelta(days=244))
    assert worn(parse(pair), NOW + timedelta(days=244))


@pytest.mark.parametrize(
    "wanted",
    [
        replace(SERVER, common_name="w2"),
        replace(SERVER, organizations=("system:nodes",)),
        replace(SERVER, dns=("w1",)),
        replace(SERVER, ips=("10.0.0.2",)),
        replace(SERVER, client=True),
    ],
)
def test_a_certificate_that_says_something_else_does_not_fit(authority: Authority, wanted: Leaf) -> None:
    assert not authority.fits(authority.issue_leaf(SERVER, NOW), wanted, NOW)


def test_the_order_of_alternative_names_does_not_matter(authority: Authority) -> None:
    assert authority.fits(authority.issue_leaf(SERVER, NOW), replace(SERVER, dns=("localhost", "w1")), NOW)


def test_a_certificate_of_another_authority_does_not_fit(authority: Authority) -> None:
    other = Authority.create("kubernetes", NOW)

    assert not authority.fits(other.issue_leaf(KUBELET, NOW), KUBELET, NOW)


def test_a_certificate_with_the_key_of_another_does_not_fit(authority: Authority) -> None:
    one, two = authority.issue_leaf(KUBELET, NOW), authority.issue_leaf(KUBELET, NOW)

    assert not authority.fits(Pair(one.cert_pem, two.key_pem), KUBELET, NOW)
    assert not authority.fits(Pair(one.cert_pem, b"not a key"), KUBELET, NOW)


def test_a_loaded_authority_signs_like_the_one_it_was(authority: Authority) -> None:
    loaded = Authority.load(authority.cert_pem, authority.key_pem)

    assert authority.fits(loaded.issue_leaf(KUBELET, NOW), KUBELET, NOW)


def test_a_loaded_authority_has_to_be_told_the_time(authority: Authority) -> None:
    with pytest.raises(ValueError, match="told the time"):
        Authority.load(authority.cert_pem, authority.key_pem).issue("x")


def csr(key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, "system:node:w9"),
        ]
    )
    names = x509.SubjectAlternativeName([x509.DNSName("w9"), x509.IPAddress(IPv4Address("10.0.0.9"))])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )


def test_a_signing_request_keeps_its_names_and_its_key(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    pem = authority.sign_csr(csr(key).public_bytes(serialization.Encoding.PEM), NOW, days=1)

    certificate = x509.load_pem_x509_certificate(pem)
    assert client_identity(certificate) == ("system:node:w9", ("system:nodes",))
    assert certificate.public_key() == key.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["w9"]
    assert certificate.not_valid_after_utc == NOW + timedelta(days=1)


def test_an_authority_made_by_others_signs_with_its_rsa_key() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    pems = (
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    request = csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(serialization.Encoding.PEM)

    signed = Authority.load(*pems).sign_csr(request, NOW)

    x509.load_pem_x509_certificate(signed).verify_directly_issued_by(made)


def test_a_signing_request_that_was_altered_is_refused(authority: Authority) -> None:
    der = bytearray(csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(serialization.Encoding.DER))
    place = der.index(b"system:node:w9")
    der[place : place + 14] = b"system:masters"
    altered = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)

    with pytest.raises(ValueError, match="not signed with its own key"):
        authority.sign_csr(altered, NOW)


def test_openssl_accepts_certificate_and_key(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue_leaf(SERVER, NOW)
    (tmp_path / "crt").write_bytes(pair.cert_pem)
    (tmp_path / "key").write_bytes(pair.key_pem)

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "crt", tmp_path / "key")


def test_a_signing_key_has_two_halves_that_belong_together() -> None:
    pair = signing_key()

    private = serialization.load_pem_private_key(pair.key_pem, password=None)
    assert serialization.load_pem_public_key(pair.cert_pem) == private.public_key()


def test_a_short_life_is_backdated_by_a_part_of_it_so_that_the_new_one_is_not_worn(
    authority: Authority,
) -> None:
    """Five minutes of backdating would be most of its life, of which a third was left from the beginning."""
    minutes = timedelta(minutes=3)
    short = parse(authority.issue_leaf(replace(KUBELET, days=minutes / timedelta(days=1)), NOW))

    assert short.not_valid_after_utc == NOW + minutes
    assert short.not_valid_before_utc == NOW - minutes / 10
    assert not worn(short, NOW + timedelta(seconds=110))
    assert worn(short, NOW + timedelta(seconds=115))
