"""Certificate requests: which are approved without a person, and what becomes of approved ones."""

from base64 import b64decode, b64encode
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


def asked(name: str = NODE, organization: str = "system:nodes", **spec: Any) -> CertificateSigningRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name),
    ])  # fmt: skip
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
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


def test_a_signer_refuses_uses_that_are_not_its_own() -> None:
    (action,) = done_by(SIGNING, approved(asked(usages=("client auth", "server auth"))))

    assert isinstance(action, PatchStatus)
    assert isinstance(action.new, CertificateSigningRequest)
    assert action.new.status.conditions[-1].type == "Failed"
    assert "server auth" in action.new.status.conditions[-1].message


@pytest.mark.parametrize(
    "request_", [asked(), approved(asked(), "Denied"), approved(asked(signer_name="example.com/x"))]
)
def test_nothing_else_is_signed(request_: CertificateSigningRequest) -> None:
    assert done_by(SIGNING, request_) == []
