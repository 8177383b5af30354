"""What certificate requests may say, and through which subresource."""

import copy
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.api.certificates_v1.certificatesigningrequest import KIND
from kybern.api.rules import certificates
from kybern.auth.x509 import Authority

NOW = "2026-01-01T00:00:00Z"
BEFORE = "2025-06-01T00:00:00Z"


def pem(change: bytes = b"") -> bytes:
    """``change``: other bytes in the place of the name, after the request has been signed."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:node:n1")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    der = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.DER
    )
    made = x509.load_der_x509_csr(der.replace(b"system:node:n1", change or b"system:node:n1"))
    return made.public_bytes(serialization.Encoding.PEM)


def encoded(value: bytes) -> str:
    return b64encode(value).decode()


REQUEST, ALTERED = encoded(pem()), encoded(pem(b"system:masters"))
CERTIFICATE = Authority.create("x", datetime(2026, 1, 1, tzinfo=UTC)).cert_pem


def asked(**spec: Any) -> dict[str, Any]:
    usual = {"request": REQUEST, "signerName": "example.com/signer", "usages": ["client auth"]}
    return {"metadata": {"name": "r"}, "spec": {**usual, **spec}}


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"request": ""}, "spec.request", "PEM block type must be CERTIFICATE REQUEST"),
        ({"request": "%"}, "spec.request", "PEM block type must be CERTIFICATE REQUEST"),
        ({"request": encoded(CERTIFICATE)}, "spec.request", "PEM block type must be CERTIFICATE REQUEST"),
        ({"request": ALTERED}, "spec.request", "x509: the request is not signed with its own key"),
        (
            {"request": encoded(pem().replace(b"M", b"A", 1))},
            "spec.request",
            "x509: malformed certificate request",
        ),
        ({"usages": []}, "spec.usages", "Required value"),
        ({"usages": ["client auth", "flying"]}, "spec.usages[1]", 'supported values: "any", "cert sign"'),
        ({"usages": ["any", "client auth", "any"]}, "spec.usages[2]", 'Duplicate value: "any"'),
        ({"signerName": ""}, "spec.signerName", "Required value"),
        (
            {"signerName": "kubernetes.io/legacy-unknown"},
            "spec.signerName",
            "the legacy signerName is not allowed via this API version",
        ),
        (
            {"signerName": "signer"},
            "spec.signerName",
            "must be a fully qualified domain and path of the form",
        ),
        (
            {"signerName": "example/signer"},
            "spec.signerName",
            "should be a domain with at least two segments",
        ),
        ({"signerName": "example.com/a/b"}, "spec.signerName", "must be a fully qualified domain and path"),
        ({"signerName": "example.com/Signer"}, "spec.signerName", 'validating label "Signer"'),
        (
            {"expirationSeconds": 599},
            "spec.expirationSeconds",
            "may not specify a duration less than 600 seconds",
        ),
    ],
)
def test_what_is_wrong_with_a_request(spec: dict[str, Any], field: str, says: str) -> None:
    (cause,) = KIND.rules.validate(asked(**spec), None)

    assert cause.field == field
    assert says in cause.message


def test_a_right_request_is_taken_and_an_old_one_is_not_asked_again() -> None:
    assert list(KIND.rules.validate(asked(expirationSeconds=600, usages=["s/mime", "crl sign"]), None)) == []
    assert list(KIND.rules.validate(asked(usages=["flying"]), asked(usages=["flying"]))) == []


def told(*conditions: tuple[str, str] | str, certificate: bytes = b"") -> dict[str, Any]:
    found = [(one, "True") if isinstance(one, str) else one for one in conditions]
    status: dict[str, Any] = {"conditions": [{"type": kind, "status": status} for kind, status in found]}
    if certificate:
        status["certificate"] = encoded(certificate)
    return {**asked(), "status": status}


ADD = 'updates may not add a condition of type "Approved"'
BOTH = "Approved and Denied conditions are mutually exclusive"
HEADED = CERTIFICATE.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nA: b\n\n", 1)


@pytest.mark.parametrize(
    ("new", "old", "says"),
    [
        (told("Failed"), told(), []),
        (told("Approved", certificate=CERTIFICATE), told("Approved"), []),
        (told("Approved", certificate=CERTIFICATE + CERTIFICATE), told("Approved"), []),
        (told("Approved", ("Mine", "Unknown")), told("Approved"), []),
        (told("Approved"), told(), [ADD]),
        (told("Denied"), told(), [ADD.replace("Approved", "Denied")]),
        (told(), told("Approved"), ['updates may not remove a condition of type "Approved"']),
        (told(), told("Failed"), ['updates may not remove a condition of type "Failed"']),
        (told(("", "True")), told(), ["Required value"]),
        (told(("", "True")), told(("", "True")), []),
        (told(("Failed", "False")), told(), ['Unsupported value: "False": supported values: "True"']),
        (told(("Mine", "")), told(), ["Required value"]),
        (told(("Mine", "Perhaps")), told(), ['supported values: "False", "True", "Unknown"']),
        (told("Mine", "Mine"), told(), ['Duplicate value: "Mine"']),
        (told("Mine", "Mine"), told("Mine", "Mine"), []),
        (
            told(certificate=CERTIFICATE),
            told(certificate=CERTIFICATE * 2),
            ["modify existing certificate content"],
        ),
        (told(certificate=b"x"), told(certificate=b"x"), []),
        (told(certificate=b"x"), told(), ["must contain at least one CERTIFICATE PEM block"]),
        (told(certificate=pem()), told(), ['allowed, found "CERTIFICATE REQUEST"']),
        (told(certificate=HEADED), told(), ["no PEM block headers are permitted"]),
        (told(certificate=CERTIFICATE.replace(b"M", b"A", 1)), told(), ["x509: malformed certificate"]),
    ],
)
def test_what_a_signer_may_say(new: dict[str, Any], old: dict[str, Any], says: list[str]) -> None:
    found = [cause.message for cause in KIND.rules.validate_status(new, old)]

    assert len(found) == len(says)
    assert all(text in message for message, text in zip(found, says, strict=True))


@pytest.mark.parametrize(
    ("new", "old", "says"),
    [
        (told("Approved"), told(), []),
        (told("Denied"), told(), []),
        (told("Approved", "Denied"), told(), [BOTH]),
        (told("Denied", "Approved"), told("Denied"), [BOTH]),
        (told("Approved", "Denied"), told("Denied", "Approved"), []),
        (told(), told("Denied"), ['updates may not remove a condition of type "Denied"']),
    ],
)
def test_what_an_approver_may_say(new: dict[str, Any], old: dict[str, Any], says: list[str]) -> None:
    found = [cause.message for cause in certificates.approval(new, old)]

    assert len(found) == len(says)
    assert all(text in message for message, text in zip(found, says, strict=True))


def test_a_decision_stays_as_it_is_when_a_signer_sends_it_along() -> None:
    old = told("Approved")
    old["status"]["conditions"][0]["message"] = "by a person"
    new = told("Approved", "Failed")

    KIND.rules.on_status(new, old)

    assert [one.get("message") for one in new["status"]["conditions"]] == ["by a person", None]


def test_conditions_say_when_they_were_told_and_since_when_they_hold() -> None:
    old = told("Approved", ("Mine", "True"))
    for one in old["status"]["conditions"]:
        one["lastTransitionTime"] = BEFORE
    new = copy.deepcopy(told("Approved", ("Mine", "False"), "New"))
    new["status"]["conditions"][2] |= {"lastUpdateTime": BEFORE, "lastTransitionTime": BEFORE}

    KIND.rules.stamp_status(new, old, NOW)

    times = [(one["lastUpdateTime"], one["lastTransitionTime"]) for one in new["status"]["conditions"]]
    assert times == [(NOW, BEFORE), (NOW, NOW), (BEFORE, BEFORE)]
