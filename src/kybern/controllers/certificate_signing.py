"""Sign the certificate requests that somebody approved, with the cluster's authority.

Reads CertificateSigningRequest. Writes its status: the certificate, or the condition Failed with the reason. Signs for
upstream's four signers, each with the usages that it may have. Without ``--cluster-signing-cert-file`` nothing is signed.
The certificate is made in ``observe``, since its serial number is random.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from kybern.loop.controller import Action, Controller, Key, PatchStatus, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

_CLIENT = {"client auth", "digital signature", "key encipherment"}
_SERVER = {"server auth", "digital signature", "key encipherment"}
SIGNERS = {
    "kubernetes.io/kube-apiserver-client-kubelet": _CLIENT,
    "kubernetes.io/kube-apiserver-client": _CLIENT,
    "kubernetes.io/kubelet-serving": _SERVER,
    "kubernetes.io/legacy-unknown": _CLIENT | _SERVER,
}
_DAY = 86400


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
        usages = set(request.spec.usages)
        excess = sorted(usages - SIGNERS[request.spec.signer_name])
        if excess:
            return State(request, b"", f"usages are not allowed by the signer: {', '.join(excess)}", view.now)
        try:
            return State(request, signed(request, settings, view.now), "", view.now)
        except ValueError as problem:
            return State(request, b"", str(problem), view.now)

    return observe


def is_due(request: CertificateSigningRequest) -> bool:
    conditions = {one.type for one in request.status.conditions}
    approved = "Approved" in conditions and not conditions & {"Denied", "Failed"}
    return approved and not request.status.certificate and request.spec.signer_name in SIGNERS


def signed(request: CertificateSigningRequest, settings: Settings, now: datetime) -> bytes:
    """The certificate in PEM; raises ValueError for a request that cannot be read or is not signed with its own key."""
    # Only imported when a machine asks: it costs ten megabytes.
    from kybern.auth.x509 import Authority  # noqa: PLC0415

    authority = Authority.load(settings.signing_cert.encode(), settings.signing_key.encode())
    seconds = min(request.spec.expiration_seconds or settings.signing_duration, settings.signing_duration)
    return authority.sign_csr(
        b64decode(request.spec.request),
        now,
        client="client auth" in request.spec.usages,
        server="server auth" in request.spec.usages,
        days=max(1, round(seconds / _DAY)),
    )


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
