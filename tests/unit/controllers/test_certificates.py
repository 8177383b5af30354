"""Certificate requests: which are approved without a person, and what becomes of approved ones."""

import dataclasses
from base64 import b64decode, b64encode
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.api.authorization_v1 import SubjectAccessReview, SubjectAccessReviewStatus
from kybern.api.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
)
from kybern.api.key_usages import EXTENDED, KEY
from kybern.api.meta_v1 import ObjectMeta
from kybern.auth.x509 import Authority
from kybern.controllers import certificate_approving, certificate_signing
from kybern.loop.controller import Action, Call, Key, PatchStatus
from kybern.loop.settings import Settings
from kybern.machinery.struct import decoder, replace
from tests.unit.controllers.making import NOW, view

AUTHORITY = Authority.create("cluster", NOW)
SETTINGS = Settings(signing_cert=AUTHORITY.cert_pem.decode(), signing_key=AUTHORITY.key_pem.decode())
APPROVING, SIGNING = certificate_approving.controller(SETTINGS), certificate_signing.controller(SETTINGS)
NODE = "system:node:n1"


def asked(
    name: str = NODE,
    organization: str = "system:nodes",
    names: tuple[x509.GeneralName, ...] = (),
    **spec: Any,
) -> CertificateSigningRequest:
    """``names`` are the alternative ones."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name),
    ])  # fmt: skip
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key, hashes.SHA256())
    wanted: dict[str, Any] = {
        "request": b64encode(made.public_bytes(serialization.Encoding.PEM)).decode(),
        "signer_name": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ("client auth", "digital signature"),
        "username": "system:bootstrap:abcdef",
    }
    return CertificateSigningRequest(
        metadata=ObjectMeta(name="r"), spec=CertificateSigningRequestSpec(**{**wanted, **spec})
    )


def approved(request: CertificateSigningRequest, *more: str) -> CertificateSigningRequest:
    conditions = tuple(
        CertificateSigningRequestCondition(type=kind, status="True") for kind in ("Approved", *more)
    )
    return replace(request, status=CertificateSigningRequestStatus(conditions=conditions))


def done_by(controller: Any, request: CertificateSigningRequest, may: tuple[str, ...] = ()) -> list[Action]:
    def review(question: tuple[Any, ...]) -> SubjectAccessReview:
        found = decoder(SubjectAccessReview).decode(question[0])
        attributes = found.spec.resource_attributes
        assert attributes is not None
        return replace(found, status=SubjectAccessReviewStatus(allowed=attributes.subresource in may))

    state = controller.observe(view(controller, request, live=review), Key("", "r"))
    return list(controller.diff(state)) if state is not None else []


@pytest.mark.parametrize(
    ("username", "may", "word"),
    [
        ("system:bootstrap:abcdef", ("nodeclient",), "Auto approving kubelet"),
        (NODE, ("selfnodeclient",), "self kubelet"),
    ],
)
def test_who_may_have_a_node_s_certificate_gets_it(username: str, may: tuple[str, ...], word: str) -> None:
    (call,) = done_by(APPROVING, asked(username=username), may)

    assert isinstance(call, Call)
    assert call.path.endswith("/certificatesigningrequests/r/approval")
    (condition,) = decoder(CertificateSigningRequest).decode(call.body).status.conditions
    assert (condition.type, condition.reason) == ("Approved", "AutoApproved")
    assert word in condition.message


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asked(name="admin"), id="not a node"),
        pytest.param(asked(organization="system:masters"), id="another group"),
        pytest.param(asked(usages=("server auth", "digital signature")), id="another use"),
        pytest.param(asked(signer_name="kubernetes.io/kube-apiserver-client"), id="another signer"),
        pytest.param(asked(request=b64encode(b"nonsense").decode()), id="unreadable"),
        pytest.param(approved(asked()), id="decided already"),
    ],
)
def test_anything_else_waits_for_a_person(request_: CertificateSigningRequest) -> None:
    assert done_by(APPROVING, request_, ("nodeclient", "selfnodeclient")) == []


def test_who_may_not_waits_for_a_person() -> None:
    assert done_by(APPROVING, asked()) == []


def test_what_is_approved_is_signed_by_the_cluster_s_authority() -> None:
    (action,) = done_by(SIGNING, approved(asked()))

    assert isinstance(action, PatchStatus)
    assert isinstance(action.new, CertificateSigningRequest)
    found = x509.load_pem_x509_certificate(b64decode(action.new.status.certificate))
    authority = x509.load_pem_x509_certificate(AUTHORITY.cert_pem)
    found.verify_directly_issued_by(authority)
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == NODE


def signed(request: CertificateSigningRequest, settings: Settings = SETTINGS) -> Any:
    """The certificate, or the message of the condition Failed."""
    (action,) = done_by(certificate_signing.controller(settings), approved(request))
    assert isinstance(action, PatchStatus)
    assert isinstance(action.new, CertificateSigningRequest)
    status = action.new.status
    if status.certificate:
        return x509.load_pem_x509_certificate(b64decode(status.certificate))
    assert (status.conditions[-1].type, status.conditions[-1].reason) == ("Failed", "SignerValidationFailure")
    return status.conditions[-1].message


SERVING: dict[str, Any] = {
    "signer_name": "kubernetes.io/kubelet-serving",
    "usages": ("server auth", "digital signature", "key encipherment"),
}
CLIENT: dict[str, Any] = {"signer_name": "kubernetes.io/kube-apiserver-client"}
DNS, MAIL = x509.DNSName("n1"), x509.RFC822Name("a@example.com")
ADDRESS, URI = x509.IPAddress(ip_address("192.0.2.1")), x509.UniformResourceIdentifier("spiffe://x")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (asked(organization="system:masters"), "subject organization is not system:nodes"),
        (asked(name="admin"), "subject common name does not begin with system:node:"),
        (asked(names=(DNS,)), "DNS subjectAltNames are not allowed"),
        (asked(names=(ADDRESS,)), "IP subjectAltNames are not allowed"),
        (asked(names=(MAIL,)), "Email subjectAltNames are not allowed"),
        (asked(names=(URI,)), "URI subjectAltNames are not allowed"),
        (
            asked(usages=("client auth", "server auth")),
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (asked(**SERVING), "DNS or IP subjectAltName is required"),
        (asked(names=(DNS, MAIL), **SERVING), "Email subjectAltNames are not allowed"),
        (asked(names=(ADDRESS, URI), **SERVING), "URI subjectAltNames are not allowed"),
        (asked("admin", names=(DNS,), **SERVING), "subject common name does not begin with system:node:"),
        (asked(organization="x", names=(DNS,), **SERVING), "subject organization is not system:nodes"),
        (
            asked(names=(DNS,), **{**SERVING, "usages": ("client auth",)}),
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (
            asked(usages=("client auth", "server auth"), **CLIENT),
            "invalid usage for client certificate: server auth",
        ),
        (
            asked(usages=("digital signature",), **CLIENT),
            "missing required usage for client certificate: client auth",
        ),
    ],
)
def test_a_signer_refuses_what_is_not_its_own(request_: CertificateSigningRequest, message: str) -> None:
    assert signed(request_) == message


@pytest.mark.parametrize(
    "request_",
    [
        asked(names=(DNS, ADDRESS), **SERVING),
        asked(names=(ADDRESS,), **{**SERVING, "usages": ("server auth", "digital signature")}),
        asked("jane", "people", usages=("client auth",), **CLIENT),
        asked("x", "y", (MAIL,), usages=("server auth",), signer_name="kubernetes.io/legacy-unknown"),
    ],
)
def test_a_signer_signs_what_is_its_own(request_: CertificateSigningRequest) -> None:
    assert isinstance(signed(request_), x509.Certificate)


def granted(certificate: x509.Certificate) -> tuple[set[str], list[str]]:
    """The bits of the key usage, and the extended ones in their order."""
    bits, extended = set(), []
    for one in certificate.extensions:
        if isinstance(one.value, x509.KeyUsage):
            assert one.critical
            bits = {name for name in KEY.values() if _has(one.value, name)}
        if isinstance(one.value, x509.ExtendedKeyUsage):
            extended = [usage.dotted_string for usage in one.value]
    return bits, extended


def _has(usage: x509.KeyUsage, name: str) -> bool:
    if name in {"encipher_only", "decipher_only"} and not usage.key_agreement:
        return False
    return bool(getattr(usage, name))


AUTH = {one: EXTENDED[f"{one} auth"] for one in ("server", "client")}


@pytest.mark.parametrize(
    ("request_", "bits", "extended"),
    [
        (asked(), {"digital_signature"}, [AUTH["client"]]),
        (
            asked(usages=("key encipherment", "client auth", "digital signature")),
            {"digital_signature", "key_encipherment"},
            [AUTH["client"]],
        ),
        (
            asked(names=(DNS,), **{**SERVING, "usages": ("server auth", "digital signature")}),
            {"digital_signature"},
            [AUTH["server"]],
        ),
        (asked("jane", usages=("client auth",), **CLIENT), set(), [AUTH["client"]]),
        (
            asked(
                signer_name="kubernetes.io/legacy-unknown",
                usages=(
                    "s/mime",
                    "any",
                    "client auth",
                    "server auth",
                    "email protection",
                    "crl sign",
                    "signing",
                ),
            ),
            {"digital_signature", "crl_sign"},
            [EXTENDED["any"], AUTH["server"], AUTH["client"], EXTENDED["s/mime"]],
        ),
        (
            asked(
                signer_name="kubernetes.io/legacy-unknown",
                usages=(
                    "key agreement",
                    "decipher only",
                    "content commitment",
                    "data encipherment",
                    "cert sign",
                ),
            ),
            {"key_agreement", "decipher_only", "content_commitment", "data_encipherment", "key_cert_sign"},
            [],
        ),
    ],
)
def test_a_certificate_is_good_for_what_was_asked_and_no_more(
    request_: CertificateSigningRequest, bits: set[str], extended: list[str]
) -> None:
    assert granted(signed(request_)) == (bits, extended)


def test_words_that_nobody_knows_are_not_signed() -> None:
    request = asked(signer_name="kubernetes.io/legacy-unknown", usages=("client auth", "flying", "swimming"))

    assert signed(request) == 'unrecognized usage values: ["flying" "swimming"]'


def test_all_alternative_names_are_passed_on() -> None:
    found = signed(asked("jane", names=(URI, ADDRESS, MAIL, DNS), usages=("client auth",), **CLIENT))

    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [DNS, MAIL, ADDRESS, URI]
    assert not names.critical


@pytest.mark.parametrize(
    ("seconds", "most", "wanted"),
    [
        (3600, 86400, 3600),  # as asked
        (60, 86400, 600),  # never less than ten minutes
        (30 * 3600, 86400, 86400 - 300),  # never more than the signer's
        (None, 86400, 86400 - 300),
        (8 * 3600, 86400, 8 * 3600 - 300),  # dated back as a whole, when it is not short-lived
        (8 * 3600 - 1, 86400, 8 * 3600 - 1),
    ],
)
def test_a_certificate_lives_as_long_as_was_asked(seconds: int | None, most: int, wanted: int) -> None:
    found = signed(asked(expiration_seconds=seconds), lasting(most))

    assert found.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert found.not_valid_after_utc == NOW + timedelta(seconds=wanted)


def lasting(seconds: float) -> Settings:
    return dataclasses.replace(SETTINGS, signing_duration=seconds)


@pytest.mark.parametrize(
    "request_", [asked(), approved(asked(), "Denied"), approved(asked(signer_name="example.com/x"))]
)
def test_nothing_else_is_signed(request_: CertificateSigningRequest) -> None:
    assert done_by(SIGNING, request_) == []
