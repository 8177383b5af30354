"""CertificateSigningRequest: a wish for a certificate, its approval and the certificate.

Who asks is written into the spec by the server from the request's user, never taken from the body.
"""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import certificates
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, age, dig, name, text
from kybern.machinery import names
from kybern.machinery.duration import human
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, Subresource, Table

_SELECTABLE = {
    "spec.signerName": lambda raw: text(dig(raw, "spec", "signerName")),
}


_COLUMNS = (
    NAME,
    AGE,
    Column("SignerName"),
    Column("Requestor"),
    Column("RequestedDuration"),
    Column("Condition"),
)


def _condition(raw: Raw) -> str:
    kinds = {found.get("type") for found in dig(raw, "status", "conditions") or ()}
    found = next((kind for kind in ("Denied", "Approved") if kind in kinds), "Pending")
    if "Failed" in kinds:
        found += ",Failed"
    return found + ",Issued" if dig(raw, "status", "certificate") else found


def _cells(raw: Raw, now: float) -> list[Any]:
    spec = raw.get("spec") or {}
    lasting = spec.get("expirationSeconds")
    return [
        name(raw),
        age(raw, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        human(lasting) if lasting is not None else NONE,
        _condition(raw),
    ]


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})
    raw.setdefault("status", {})


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    if old is None:
        yield from certificates.request(new.get("spec") or {})


def _validate_status(new: Raw, old: Raw | None) -> Iterator[Cause]:
    yield from certificates.status(new, old or {})


def _on_update(new: Raw, old: Raw) -> None:
    """What was asked for never changes."""
    new["spec"] = dict(old.get("spec") or {})


KIND = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    schema="io.k8s.api.certificates.v1.CertificateSigningRequest",
    singular="certificatesigningrequest",
    short_names=("csr",),
    storage="certificatesigningrequests",
    subresources=(
        Subresource("approval", "CertificateSigningRequest", "certificates.k8s.io"),
        status("CertificateSigningRequest", "certificates.k8s.io"),
    ),
    selectable=_SELECTABLE,
    table=Table(_COLUMNS, _cells),
    rules=Rules(
        default=_default,
        validate=_validate,
        on_update=_on_update,
        on_status=certificates.preserve,
        stamp_status=certificates.stamp,
        validate_status=_validate_status,
    ),
    valid_name=names.path_segment,
    storage_version_hash="95fRKMXA+00=",
)
