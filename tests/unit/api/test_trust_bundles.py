"""What a ClusterTrustBundle may say and be called, in both versions; and what pods may want of one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.api.certificates_v1alpha1 import clustertrustbundle as alpha
from kybern.api.certificates_v1beta1 import clustertrustbundle as beta
from kybern.api.rules.pods import projections
from kybern.api.rules.pods.volumes import volumes
from kybern.api.rules.signers import signer_name
from kybern.api.rules.trustbundles import LARGEST
from kybern.auth.x509 import Authority
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Kind, Raw

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = Authority.create("one", NOW)
ONE, OTHER = AUTHORITY.cert_pem.decode(), Authority.create("other", NOW).cert_pem.decode()
LEAF = AUTHORITY.issue("leaf", now=NOW).cert_pem.decode()
HEADED = ONE.replace("-----\n", "-----\nKey: value\n\n", 1)
KEY = ONE.replace("CERTIFICATE", "PUBLIC KEY")
BROKEN = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"
FIELD, OMITTED = "spec.trustBundle", 'Invalid value: "<value omitted>": '
KINDS = pytest.mark.parametrize("kind", [alpha.KIND, beta.KIND], ids=lambda kind: kind.version)


def old_certificate() -> str:
    """One that says nothing of authorities."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW.replace(year=2027))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def bundle(text: str = ONE, signer: str = "", name: str = "b", **metadata: Any) -> Raw:
    spec = {"trustBundle": text} | ({"signerName": signer} if signer else {})
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def wrong(kind: Kind, new: Raw, old: Raw | None = None) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in kind.rules.validate(new, old)]


@KINDS
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ONE, []),
        (ONE + "a word between\n" + OTHER, []),
        ("", ["at least one trust anchor must be provided"]),
        ("words", ["at least one trust anchor must be provided"]),
        (KEY, ["entry 0 has bad block type: PUBLIC KEY"]),
        (ONE + KEY + HEADED, ["entry 1 has bad block type: PUBLIC KEY", "entry 2 has PEM block headers"]),
        (BROKEN, ["entry 0 does not parse as X.509"]),
        (LEAF, ["entry 0 does not have the CA bit set"]),
        (old_certificate(), ["entry 0 does not have the CA bit set"]),
        (ONE + OTHER + ONE, ["duplicate trust anchor (indices [0 2])"]),
        (ONE + ONE + KEY, ["entry 2 has bad block type: PUBLIC KEY"]),
    ],
)
def test_anchors_are_certificates_of_authorities_once_each(kind: Kind, text: str, says: list[str]) -> None:
    assert wrong(kind, bundle(text)) == [(FIELD, OMITTED + one) for one in says]


@KINDS
def test_a_bundle_is_of_one_mebibyte_at_most(kind: Kind) -> None:
    assert wrong(kind, bundle(ONE + " " * (LARGEST - len(ONE)))) == []
    assert wrong(kind, bundle(ONE + " " * (LARGEST - len(ONE) + 1))) == [
        (FIELD, "Too long: may not be more than 1048576 bytes")
    ]


@KINDS
@pytest.mark.parametrize(
    ("signer", "metadata", "says"),
    [
        ("", {"name": "b"}, []),
        ("", {"name": "B"}, [("metadata.name", "a lowercase RFC 1123 subdomain")]),
        ("", {"name": "a:b"}, [("metadata.name", 'without signer name must not have ":" in its name')]),
        ("example.com/s", {"name": "example.com:s:v1"}, []),
        ("example.com/s", {"name": "example.com:s:v1xyz", "generateName": "example.com:s:v1"}, []),
        ("example.com/s", {"name": "example.com:s:a-xyz", "generateName": "example.com:s:a-"}, []),
        ("example.com/s", {"name": "example.com:s:"}, [("metadata.name", "a lowercase RFC 1123 subdomain")]),
        (
            "example.com/s",
            {"name": "b"},
            [("metadata.name", "must be named with prefix example.com:s:")],
        ),
        (
            "example.com/s",
            {"name": "bxyz", "generateName": "b"},
            [
                ("metadata.generateName", "must be named with prefix example.com:s:"),
                ("metadata.name", "must be named with prefix example.com:s:"),
            ],
        ),
        ("example/s", {"name": "example:s:b"}, [("spec.signerName", "at least two segments")]),
    ],
)
def test_a_name_begins_with_that_of_the_signer(
    kind: Kind, signer: str, metadata: Raw, says: list[tuple[str, str]]
) -> None:
    found = wrong(kind, bundle(signer=signer, **metadata))

    assert [field for field, _ in found] == [field for field, _ in says]
    assert all(part in message for (_, message), (_, part) in zip(found, says, strict=True))


@KINDS
def test_the_signer_stays_and_old_anchors_may(kind: Kind) -> None:
    signed = bundle(signer="example.com/s", name="example.com:s:b")
    assert wrong(kind, bundle(OTHER), bundle()) == []
    assert wrong(kind, bundle(LEAF, labels={"a": "b"}), bundle(LEAF)) == []
    assert wrong(kind, bundle(LEAF), bundle()) == [(FIELD, f"{OMITTED}entry 0 does not have the CA bit set")]
    changed = wrong(kind, bundle(signer="example.com/t", name="example.com:t:b"), signed)
    assert changed == [("spec.signerName", 'Invalid value: "example.com/t": field is immutable')]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("example.com/s", []),
        ("a.b/ns.name", []),
        ("", ["Required value"]),
        ("s", ["must be a fully qualified domain and path of the form 'example.com/signer-name'"]),
        ("a.b/c/d", ["must be a fully qualified domain and path of the form 'example.com/signer-name'"]),
        ("local/s", ["should be a domain with at least two segments separated by dots"]),
        ("A.b/s", ['"A.b": validating label "A"']),
        ("a.b/S", ['"S": validating label "S"']),
        ("a..b/s", ['validating label ""']),
        (f"{'a.' * 127}b/s", ["Too long: may not be more than 253 bytes"]),
        (f"a.b/{'.'.join(['c' * 63] * 9)}", ["Too long: may not be more than 571 bytes"]),
    ],
)
def test_a_signer_is_a_domain_and_a_path(name: str, says: list[str]) -> None:
    found = list(signer_name("f", name))

    assert len(found) == len(says)
    assert all(one in cause.message for one, cause in zip(says, found, strict=True))


def test_versions_differ_in_their_name_only() -> None:
    conversion = alpha.KIND.conversion
    assert conversion is not None
    raw = {"apiVersion": "certificates.k8s.io/v1alpha1", "kind": "ClusterTrustBundle", **bundle()}

    stored = conversion.to_stored(raw)

    assert stored == {**raw, "apiVersion": "certificates.k8s.io/v1beta1"}
    assert conversion.from_stored(stored) == raw


def flaws(*sources: Raw) -> list[Cause]:
    found: list[Cause] = []
    given = [{"name": "v", "projected": {"sources": list(sources)}}]
    volumes("spec.volumes", given, lambda _field, _raw: iter(()), found.append)
    return found


AT = "spec.volumes[0].projected.sources[0].clusterTrustBundlePEM"
NOWHERE: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("source", "field", "says"),
    [
        ({"name": "b", "path": "p"}, "", ""),
        ({"name": "example.com:s:b", "path": "p"}, "", ""),
        ({"signerName": "example.com/s", "path": "p"}, "", ""),
        ({"signerName": "example.com/s", "labelSelector": {}, "path": "d/p", "optional": True}, "", ""),
        ({"path": "p"}, AT, "either name or signerName must be specified"),
        (
            {"name": "b", "signerName": "example.com/s", "path": "p"},
            AT,
            '{"Name":"b","SignerName":"example.com/s","LabelSelector":null,"Optional":null,"Path":"p"}: only one of',
        ),
        ({"name": "a b", "path": "p"}, f"{AT}.name", "not a valid clustertrustbundlename: a lowercase"),
        (
            {"name": "b", "labelSelector": {}, "path": "p"},
            f"{AT}.labelSelector",
            "labelSelector must be unset",
        ),
        ({"signerName": "s", "path": "p"}, f"{AT}.signerName", "must be a fully qualified domain"),
        (
            {"signerName": "example.com/s", "labelSelector": {"matchLabels": {"a b": "c"}}, "path": "p"},
            f"{AT}.labelSelector.matchLabels",
            "name part must consist",
        ),
        ({"name": "b"}, f"{AT}.path", "Required value"),
        ({"name": "b", "path": "../p"}, f"{AT}.path", "must not contain '..'"),
    ],
)
def test_a_pod_wants_a_bundle_by_name_or_those_of_a_signer(source: Raw, field: str, says: str) -> None:
    found = flaws({"clusterTrustBundle": source})

    assert [cause.field for cause in found] == ([field] if field else [])
    assert all(says in cause.message for cause in found)


def test_two_sources_cannot_have_one_path() -> None:
    source = {"clusterTrustBundle": {"name": "b", "path": "p"}}

    (found,) = flaws(source, source)

    assert found.message == 'Invalid value: "p": conflicting duplicate paths'


def spec(*sources: Raw) -> Raw:
    return {
        "volumes": [{"name": "v", "projected": {"sources": list(sources)}}, {"name": "w", "emptyDir": {}}]
    }


TRUST, CERTIFICATE = {"clusterTrustBundle": {"name": "b"}}, {"podCertificate": {"signerName": "a.b/c"}}
MAP = {"configMap": {"name": "c"}}


@pytest.mark.parametrize(
    ("gates", "old", "left"),
    [
        ((), NOWHERE, spec(MAP, {}, {})),
        (("ClusterTrustBundle",), NOWHERE, spec(MAP, {}, {})),
        ((projections.GATE,), NOWHERE, spec(MAP, TRUST, {})),
        ((), spec(TRUST), spec(MAP, TRUST, {})),
        ((), spec(CERTIFICATE), spec(MAP, {}, CERTIFICATE)),
    ],
)
def test_without_its_gate_a_source_is_dropped_unless_it_was_there(
    gates: tuple[str, ...], old: Raw, left: Raw
) -> None:
    new = spec(dict(MAP), dict(TRUST), dict(CERTIFICATE))

    projections.drop(new, old, gates)

    assert new == left
