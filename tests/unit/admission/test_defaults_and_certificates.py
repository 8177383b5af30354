"""Default classes, protection, growth of claims, labels of the node, and signers of certificates."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kybern.admission.plugins import (
    certificate_approval,
    certificate_signing,
    certificate_subject_restriction,
    default_ingress_class,
    default_storage_class,
    persistent_volume_claim_resize,
    pod_topology_labels,
    storage_object_in_use_protection,
)
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, stored, write

DEFAULT = "storageclass.kubernetes.io/is-default-class"
INGRESS = "ingressclass.kubernetes.io/is-default-class"


def marked(name: str, made: str, annotation: str, value: str = "true") -> Raw:
    return named(name, metadata={"creationTimestamp": made, "annotations": {annotation: value}})


@pytest.mark.parametrize(
    ("classes", "chosen"),
    [
        ([], None),
        ([marked("a", "2026-01-01T00:00:00Z", DEFAULT, "false")], None),
        ([marked("a", "2026-01-01T00:00:00Z", DEFAULT), marked("b", "2026-01-02T00:00:00Z", DEFAULT)], "b"),
        ([marked("b", "2026-01-01T00:00:00Z", DEFAULT), marked("a", "2026-01-01T00:00:00Z", DEFAULT)], "a"),
    ],
)
async def test_a_claim_gets_the_newest_default_class(classes: list[Raw], chosen: str | None) -> None:
    claim = named("c", "x", spec={})
    lookup = stored(*(("storageclasses", one) for one in classes))

    await admitted(
        default_storage_class.PLUGIN, write("CREATE", "persistentvolumeclaims", claim, lookup=lookup)
    )

    assert claim["spec"].get("storageClassName") == chosen


@pytest.mark.parametrize(
    "claim",
    [
        named("c", "x", spec={"storageClassName": ""}),
        named(
            "c", "x", metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}}, spec={}
        ),
    ],
)
async def test_a_claim_that_chose_keeps_its_choice(claim: Raw) -> None:
    before = dict(claim["spec"])
    lookup = stored(("storageclasses", marked("a", "", DEFAULT)))

    await admitted(
        default_storage_class.PLUGIN, write("CREATE", "persistentvolumeclaims", claim, lookup=lookup)
    )

    assert claim["spec"] == before


@pytest.mark.parametrize(
    ("ingress", "chosen"),
    [
        (named("i", "x", spec={}), "nginx"),
        (named("i", "x", spec={"ingressClassName": "own"}), "own"),
        (named("i", "x", metadata={"annotations": {"kubernetes.io/ingress.class": "old"}}, spec={}), None),
    ],
)
async def test_an_ingress_gets_the_default_class(ingress: Raw, chosen: str | None) -> None:
    lookup = stored(("ingressclasses", marked("nginx", "", INGRESS)))

    await admitted(default_ingress_class.PLUGIN, write("CREATE", "ingresses", ingress, lookup=lookup))

    assert ingress["spec"].get("ingressClassName") == chosen


@pytest.mark.parametrize(
    ("classes", "chosen"),
    [
        ([], None),
        ([marked("a", "2026-01-01T00:00:00Z", INGRESS, "false")], None),
        ([marked("a", "2026-01-01T00:00:00Z", INGRESS), marked("b", "2026-01-02T00:00:00Z", INGRESS)], "b"),
        ([marked("b", "2026-01-01T00:00:00Z", INGRESS), marked("a", "2026-01-01T00:00:00Z", INGRESS)], "a"),
    ],
)
async def test_the_default_class_of_ingress_is_the_newest_and_of_equals_the_first_by_name(
    classes: list[Raw], chosen: str | None
) -> None:
    ingress = named("i", "x", spec={})
    lookup = stored(*(("ingressclasses", one) for one in classes))

    await admitted(default_ingress_class.PLUGIN, write("CREATE", "ingresses", ingress, lookup=lookup))

    assert ingress["spec"].get("ingressClassName") == chosen


@pytest.mark.parametrize(
    ("plural", "finalizer"),
    [("persistentvolumes", "pv"), ("persistentvolumeclaims", "pvc"), ("volumeattributesclasses", "vac")],
)
async def test_storage_objects_are_protected_once(plural: str, finalizer: str) -> None:
    one = named("o")

    for _ in range(2):
        await admitted(storage_object_in_use_protection.PLUGIN, write("CREATE", plural, one))

    assert one["metadata"]["finalizers"] == [f"kubernetes.io/{finalizer}-protection"]


def claim(size: str, phase: str = "Bound", of: str = "fast") -> Raw:
    asked = {"requests": {"storage": size}}
    return named("c", "x", spec={"resources": asked, "storageClassName": of}, status={"phase": phase})


@pytest.mark.parametrize(
    ("new", "old", "says"),
    [
        (claim("2Gi"), claim("1Gi"), ""),
        (claim("1Gi", of="slow"), claim("2Gi", of="slow"), ""),
        (claim("2Gi"), claim("1Gi", "Pending"), "only bound persistent volume claims can be expanded"),
        (claim("2Gi", of="slow"), claim("1Gi", of="slow"), "only dynamically provisioned pvc can be resized"),
        (claim("2Gi", of="fast"), claim("1Gi", of=""), "only dynamically provisioned pvc can be resized"),
    ],
)
async def test_bound_claims_grow_where_their_class_can(new: Raw, old: Raw, says: str) -> None:
    lookup = stored(
        ("storageclasses", named("fast", allowVolumeExpansion=True)), ("storageclasses", named("slow"))
    )
    request = write("UPDATE", "persistentvolumeclaims", new, old, lookup=lookup)

    refusal = await admitted(persistent_volume_claim_resize.PLUGIN, request)

    assert says in refusal if says else refusal == ""


@pytest.mark.parametrize(
    ("plural", "body", "labels"),
    [
        ("pods", named("p", "x", spec={"nodeName": "n"}), {"topology.kubernetes.io/zone": "z"}),
        ("pods/binding", named("p", "x", target={"name": "n"}), {"topology.kubernetes.io/zone": "z"}),
        ("pods", named("p", "x", spec={}), None),
        ("pods", named("p", "x", spec={"nodeName": "absent"}), None),
    ],
)
async def test_a_pod_learns_where_its_node_is(plural: str, body: Raw, labels: Any) -> None:
    node = named("n", metadata={"labels": {"topology.kubernetes.io/zone": "z", "other": "o"}})

    await admitted(pod_topology_labels.PLUGIN, write("CREATE", plural, body, lookup=stored(("nodes", node))))

    assert body["metadata"].get("labels") == labels


def allowing(*names: str) -> Any:
    def authorize(asked: Attributes) -> Decision:
        said = f"{asked.verb} {asked.resource}/{asked.name}"
        return Decision(Verdict.ALLOW if said in names else Verdict.NO_OPINION)

    return authorize


CSRS = "certificatesigningrequests"
REQUEST = named("r", spec={"signerName": "example.com/serving"})
SIGNED = REQUEST | {"status": {"certificate": "abc"}}


@pytest.mark.parametrize(
    ("permits", "allowed"),
    [
        (("approve signers/example.com/serving",), True),
        (("approve signers/example.com/*",), True),
        (("approve signers/other.com/*", "sign signers/example.com/*"), False),
    ],
)
async def test_approval_needs_the_signers_permission(permits: tuple[str, ...], *, allowed: bool) -> None:
    request = write("UPDATE", f"{CSRS}/approval", REQUEST, REQUEST, authorize=allowing(*permits))

    refusal = await admitted(certificate_approval.PLUGIN, request)

    assert (refusal == "") == allowed
    assert (
        allowed or 'user not permitted to approve requests with signerName "example.com/serving"' in refusal
    )


@pytest.mark.parametrize(
    ("new", "permits", "allowed"),
    [
        (SIGNED, ("sign signers/example.com/serving",), True),
        (SIGNED, (), False),
        (REQUEST | {"status": {"conditions": [{"type": "Failed"}]}}, (), False),
        (named("r", metadata={"labels": {"a": "b"}}, spec=REQUEST["spec"]), (), True),
    ],
)
async def test_signing_needs_the_signers_permission(
    new: Raw, permits: tuple[str, ...], *, allowed: bool
) -> None:
    request = write("UPDATE", f"{CSRS}/status", new, REQUEST, authorize=allowing(*permits))

    assert (await admitted(certificate_signing.PLUGIN, request) == "") == allowed


def csr(*groups: str) -> str:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me"), *names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


CLIENT = "kubernetes.io/kube-apiserver-client"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"signerName": CLIENT, "request": csr("devs")}, ""),
        ({"signerName": "example.com/x", "request": csr("system:masters")}, ""),
        (
            {"signerName": CLIENT, "request": csr("devs", "system:masters")},
            f"use of {CLIENT} signer with system:masters group is not allowed",
        ),
        ({"signerName": CLIENT, "request": "bm9uc2Vuc2U="}, "failed to parse CSR"),
    ],
)
async def test_nobody_asks_to_become_a_master(spec: Raw, says: str) -> None:
    refusal = await admitted(
        certificate_subject_restriction.PLUGIN, write("CREATE", CSRS, named("r", spec=spec))
    )

    assert says in refusal if says else refusal == ""
