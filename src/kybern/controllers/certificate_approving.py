"""Approve the client certificates that kubelets ask for, when they may have them.

Reads CertificateSigningRequest. Writes its condition Approved. A request is recognised by what it asks for (the
certificate of a node and nothing else) and approved when the API server says that who asks may: ``nodeclient`` for a
machine that joins, ``selfnodeclient`` for a node that renews its own.
"""

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.authorization_v1 import ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec
from kybern.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from kybern.loop.controller import Action, Call, Controller, Key, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import encode, replace

SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
USAGES = ({"client auth", "digital signature"}, {"client auth", "digital signature", "key encipherment"})


@dataclass(frozen=True, slots=True)
class State:
    request: CertificateSigningRequest
    reason: str
    now: datetime


def observe(view: View, key: Key) -> State | None:
    request = view.get(CertificateSigningRequest, "", key.name)
    if request is None or request.status.certificate or any(one.type for one in request.status.conditions):
        return None
    name = node_of(request)
    if not name:
        return None
    if request.spec.username == name and _may(view, request, "selfnodeclient"):
        return State(
            request, "Auto approving self kubelet client certificate after SubjectAccessReview.", view.now
        )
    if _may(view, request, "nodeclient"):
        return State(
            request, "Auto approving kubelet client certificate after SubjectAccessReview.", view.now
        )
    return None


def node_of(request: CertificateSigningRequest) -> str:
    """The node's user name when the request is for a node's client certificate and nothing more; else nothing."""
    # Only imported when a machine asks: it costs ten megabytes.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    if request.spec.signer_name != SIGNER or set(request.spec.usages) not in USAGES:
        return ""
    try:
        asked = x509.load_pem_x509_csr(b64decode(request.spec.request))
    except ValueError:
        return ""
    organizations = [one.value for one in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    names = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    alternatives = [one for one in asked.extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    fits = organizations == ["system:nodes"] and len(names) == 1 and names[0].startswith("system:node:")
    return names[0] if fits and not alternatives else ""


def _may(view: View, request: CertificateSigningRequest, subresource: str) -> bool:
    asked = request.spec
    review = SubjectAccessReview(
        spec=SubjectAccessReviewSpec(
            user=asked.username,
            uid=asked.uid,
            groups=asked.groups,
            extra=asked.extra,
            resource_attributes=ResourceAttributes(
                group="certificates.k8s.io",
                resource="certificatesigningrequests",
                verb="create",
                subresource=subresource,
                version="*",
            ),
        )
    )
    return bool(view.review(review).status.allowed)


def diff(state: State) -> Iterable[Action]:
    request, when = state.request, state.now.replace(microsecond=0)
    approved = CertificateSigningRequestCondition(
        type="Approved",
        status="True",
        reason="AutoApproved",
        message=state.reason,
        last_update_time=when,
        last_transition_time=when,
    )
    status = replace(request.status, conditions=(*request.status.conditions, approved))
    path = f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{request.metadata.name}/approval"
    yield Call("PUT", path, encode(replace(request, status=status)))


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "certificatesigningrequest-approving-controller",
        CertificateSigningRequest,
        observe,
        diff,
        component="certificate-controller",
    )
