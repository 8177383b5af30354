"""Nobody becomes a member of system:masters by a certificate request to the client signer."""

import base64

from cryptography import x509
from cryptography.x509.oid import NameOID

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.signers import GROUP, RESOURCE
from kybern.auth.user import MASTERS

SIGNER = "kubernetes.io/kube-apiserver-client"


async def validate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation != "CREATE":
        return
    spec = request.new.get("spec") or {}
    if spec.get("signerName") != SIGNER:
        return
    try:
        wanted = x509.load_pem_x509_csr(base64.b64decode(spec.get("request", "")))
    except ValueError as error:
        raise refused(request, f"failed to parse CSR: {error}") from error
    groups = [
        attribute.value for attribute in wanted.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    ]
    if MASTERS in groups:
        raise refused(request, f"use of {SIGNER} signer with {MASTERS} group is not allowed")


PLUGIN = Plugin("CertificateSubjectRestriction", validate=validate, resources=frozenset({(GROUP, RESOURCE)}))
