"""Delete certificate requests that have had their time.

Reads CertificateSigningRequest. Writes CertificateSigningRequest (deletion). An hour after it was approved and signed,
denied or failed; a day after it was made or approved, when nobody cared further; and when the certificate has expired.
Machines ask by themselves and often; without this, requests would pile up.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from kybern.api.certificates_v1 import CertificateSigningRequest
from kybern.loop.controller import Action, Again, Controller, Delete, Key, View
from kybern.loop.settings import Settings

_DECIDED = timedelta(hours=1)
_PENDING = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class State:
    request: CertificateSigningRequest
    now: datetime


def observe(view: View, key: Key) -> State | None:
    request = view.get(CertificateSigningRequest, "", key.name)
    if request is None or request.metadata.deletion_timestamp is not None:
        return None
    return State(request, view.now)


def ends(request: CertificateSigningRequest) -> Iterator[datetime]:
    """Each of the times after which a request is to go."""
    conditions, certificate = request.status.conditions, request.status.certificate
    if not conditions and request.metadata.creation_timestamp is not None:
        yield request.metadata.creation_timestamp + _PENDING
    for one in conditions:
        if one.last_update_time is not None:
            waits = one.type == "Approved" and not certificate
            yield one.last_update_time + (_PENDING if waits else _DECIDED)
    if certificate and any(one.type == "Approved" for one in conditions):
        yield from _expiry(certificate)


def _expiry(certificate: str) -> Iterator[datetime]:
    # Only imported when there is one: it costs ten megabytes.
    from cryptography import x509  # noqa: PLC0415

    try:
        yield x509.load_pem_x509_certificate(b64decode(certificate)).not_valid_after_utc
    except ValueError:
        return


def diff(state: State) -> Iterable[Action]:
    end = min(ends(state.request), default=None)
    if end is None:
        return
    left = (end - state.now).total_seconds()
    yield Again(left) if left > 0 else Delete(state.request)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "certificatesigningrequest-cleaner-controller",
        CertificateSigningRequest,
        observe,
        diff,
        component="certificate-controller",
        workers=1,
    )
