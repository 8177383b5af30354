"""Sign the certificate requests that somebody approved, with the cluster's authority.

Reads CertificateSigningRequest. Writes its status: the certificate, or the condition Failed with the reason. Signs for
upstream's four signers, each with the names and usages that it may have: whoever approved a node's certificate did not
thereby approve an administrator's. Without ``--cluster-signing-cert-file`` nothing is signed. The certificate is made in
``observe``, since its serial number is random.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from kybern.loop.controller import Action, Controller, Key, PatchStatus, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
CLIENT = "kubernetes.io/kube-apiserver-client"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({KUBELET_CLIENT, KUBELET_SERVING, CLIENT, LEGACY})
_OF = {KUBELET_CLIENT: "client auth", KUBELET_SERVING: "server auth"}
_DAY = 86400
# Upstream's bounds, in seconds (pkg/controller/certificates/signer): no certificate is shorter; the five minutes by which
# it is dated back are taken from its end, unless it is short-lived.
_LEAST, _SHORT, _BACKDATED = 600.0, 8 * 3600.0, 300.0


@dataclass(frozen=True, slots=True)
class State:
    request: CertificateSigningRequest
    certificate: bytes
    problem: str
    now: datetime


def observing(settings: Settings) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        request = view.get(CertificateSigningRequest, "", key.name)
        if request is None or not is_due(request):
            return None
        try:
            problem = refusal(request)
            certificate = b"" if problem else signed(request, settings, view.now)
        except ValueError as error:
            return State(request, b"", str(error), view.now)
        return State(request, certificate, problem, view.now)

    return observe


def is_due(request: CertificateSigningRequest) -> bool:
    conditions = {one.type for one in request.status.conditions}
    approved = "Approved" in conditions and not conditions & {"Denied", "Failed"}
    return approved and not request.status.certificate and request.spec.signer_name in SIGNERS


def refusal(request: CertificateSigningRequest) -> str:
    """Why the signer does not sign this, in upstream's words; "" when it does. Raises ValueError for what is no request."""
    usages, signer = frozenset(request.spec.usages), request.spec.signer_name
    if signer == LEGACY:
        return ""
    if signer == CLIENT:
        return _client_usages(request.spec.usages)
    wanted = {_OF[signer], "digital signature"}
    fits = usages in (wanted, wanted | {"key encipherment"})
    listed = " ".join(sorted({*wanted, "key encipherment"}))
    return _of_kubelet(request, signer) or ("" if fits else f"usages did not match [{listed}]")


def _client_usages(usages: Iterable[str]) -> str:
    for one in usages:
        if one not in {"client auth", "digital signature", "key encipherment"}:
            return f"invalid usage for client certificate: {one}"
    return "" if "client auth" in usages else "missing required usage for client certificate: client auth"


def _of_kubelet(request: CertificateSigningRequest, signer: str) -> str:
    """What is wrong with the names in a request for a node's certificate."""
    # Only imported when a machine asks: it costs ten megabytes.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    asked = x509.load_pem_x509_csr(b64decode(request.spec.request))
    organizations = [one.value for one in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    common = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    found = (one.value for one in asked.extensions if isinstance(one.value, x509.SubjectAlternativeName))
    sorts = {type(name) for names in found for name in names}
    addresses = {x509.DNSName: "DNS", x509.IPAddress: "IP"}
    refused = {x509.RFC822Name: "Email", x509.UniformResourceIdentifier: "URI"}
    if organizations != ["system:nodes"]:
        return "subject organization is not system:nodes"
    if signer == KUBELET_SERVING and not sorts & addresses.keys():
        return "DNS or IP subjectAltName is required"
    for sort, name in (refused if signer == KUBELET_SERVING else addresses | refused).items():
        if sort in sorts:
            return f"{name} subjectAltNames are not allowed"
    if not (common and common[-1].startswith("system:node:")):
        return "subject common name does not begin with system:node:"
    return ""


def signed(request: CertificateSigningRequest, settings: Settings, now: datetime) -> bytes:
    """The certificate in PEM; raises ValueError for a request that cannot be read or is not signed with its own key."""
    # Only imported when a machine asks: it costs ten megabytes.
    from kybern.auth.x509 import Authority  # noqa: PLC0415

    authority = Authority.load(settings.signing_cert.encode(), settings.signing_key.encode())
    return authority.sign_csr(
        b64decode(request.spec.request),
        now,
        request.spec.usages,
        lifetime(request.spec.expiration_seconds, settings.signing_duration) / _DAY,
    )


def lifetime(asked: int | None, most: float) -> float:
    """The seconds from now for which a certificate is good, when so many are asked for."""
    seconds = most if asked is None or asked > most else max(float(asked), _LEAST)
    return seconds if seconds < _SHORT else seconds - _BACKDATED


def diff(state: State) -> Iterable[Action]:
    status = state.request.status
    if state.problem:
        when = state.now.replace(microsecond=0)
        failed = CertificateSigningRequestCondition(
            type="Failed",
            status="True",
            reason="SignerValidationFailure",
            message=state.problem,
            last_update_time=when,
            last_transition_time=when,
        )
        status = replace(status, conditions=(*status.conditions, failed))
    else:
        status = replace(status, certificate=b64encode(state.certificate).decode())
    yield PatchStatus(state.request, replace(state.request, status=status))


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "certificatesigningrequest-signing-controller",
        CertificateSigningRequest,
        observing(settings),
        diff,
        component="certificate-controller",
    )
