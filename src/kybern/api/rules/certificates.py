"""What certificate requests may say, and who may say it through which subresource.

``approval`` decides, ``status`` brings the certificate: neither does the other's work, so that who may sign does not
thereby approve. What is said once is not taken back.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any

from kybern.api.key_usages import KNOWN
from kybern.api.rules.causes import duplicate, forbidden, invalid, not_supported, required
from kybern.api.rules.signers import signer_name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

LEGACY = "kubernetes.io/legacy-unknown"
_DECISIONS = ("Approved", "Denied")
_FINAL = (*_DECISIONS, "Failed")
_CONDITIONS, _CERTIFICATE = "status.conditions", "status.certificate"
_SHORTEST = 600
_BLOCK = re.compile(rb"-----BEGIN ([^\n]*?)-----\s*\n(.*?)-----END \1-----", re.DOTALL)


def request(spec: Raw) -> Iterator[Cause]:
    """What is wrong with a new request."""
    wrong = _request(spec.get("request") or "")
    if wrong:
        yield invalid("spec.request", spec.get("request") or "", wrong)
    usages, signer = spec.get("usages") or [], spec.get("signerName") or ""
    if not usages:
        yield required("spec.usages")
    for i, one in enumerate(usages):
        if one not in KNOWN:
            yield not_supported(f"spec.usages[{i}]", one, KNOWN)
    for i, one in enumerate(usages):
        if one in usages[:i]:
            yield duplicate(f"spec.usages[{i}]", one)
    yield from _signer(signer)
    lasting = spec.get("expirationSeconds")
    if lasting is not None and lasting < _SHORTEST:
        why = f"may not specify a duration less than {_SHORTEST} seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", lasting, why)


def _signer(name: str) -> Iterator[Cause]:
    if name == LEGACY:
        yield invalid("spec.signerName", name, "the legacy signerName is not allowed via this API version")
    else:
        yield from signer_name("spec.signerName", name)


def _request(encoded: str) -> str:
    """Why this is no signing request that is signed with its own key; empty when it is one."""
    # Only imported when somebody asks for a certificate: it costs ten megabytes.
    from cryptography import x509  # noqa: PLC0415

    found = _BLOCK.search(_decoded(encoded))
    if found is None or found[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        asked = x509.load_pem_x509_csr(found[0] + b"\n")
    except ValueError as problem:
        return f"x509: malformed certificate request: {problem}"
    return "" if asked.is_signature_valid else "x509: the request is not signed with its own key"


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded)
    except ValueError:
        return b""


def conditions(new: Raw, old: Raw) -> Iterator[Cause]:
    """What is wrong with the conditions; what is wrong with the old ones already may stay."""
    found, there = _of(new), _of(old)
    types, was = [one.get("type") or "" for one in found], [one.get("type") or "" for one in there]
    for i, one in enumerate(found):
        at, kind = f"{_CONDITIONS}[{i}]", types[i]
        if not kind and "" not in was:
            yield required(f"{at}.type")
        yield from _status(at, kind, one.get("status") or "")
        other = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if other in types[:i] and not {*_DECISIONS} <= set(was):
            yield invalid(f"{at}.type", kind, "Approved and Denied conditions are mutually exclusive")
        if kind in types[:i] and len(set(was)) == len(was):
            yield duplicate(f"{at}.type", kind)


def _status(at: str, kind: str, status: str) -> Iterator[Cause]:
    allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
    if not status:
        yield required(f"{at}.status")
    elif status not in allowed:
        yield not_supported(f"{at}.status", status, allowed)


def _of(raw: Raw, *kinds: str) -> list[Raw]:
    found = (raw.get("status") or {}).get("conditions") or []
    return [one for one in found if not kinds or one.get("type") in kinds]


def kept(new: Raw, old: Raw) -> Iterator[Cause]:
    """What has been decided is not taken back."""
    for kind in _FINAL:
        if len(_of(new, kind)) < len(_of(old, kind)):
            yield forbidden(_CONDITIONS, f'updates may not remove a condition of type "{kind}"')


def approval(new: Raw, old: Raw) -> Iterator[Cause]:
    """What is wrong with a decision."""
    yield from conditions(new, old)
    yield from kept(new, old)


def status(new: Raw, old: Raw) -> Iterator[Cause]:
    """What is wrong with what a signer says."""
    yield from conditions(new, old)
    certificate, was = (_certificate_of(raw) for raw in (new, old))
    changed = certificate != was
    if changed and (wrong := _chain(certificate)) and not _chain(was):
        yield invalid(_CERTIFICATE, "<certificate data>", wrong)
    yield from kept(new, old)
    for kind in _DECISIONS:
        if len(_of(new, kind)) > len(_of(old, kind)):
            yield forbidden(_CONDITIONS, f'updates may not add a condition of type "{kind}"')
    if changed and was:
        yield forbidden(_CERTIFICATE, "updates may not modify existing certificate content")


def _certificate_of(raw: Raw) -> str:
    return str((raw.get("status") or {}).get("certificate") or "")


def _chain(encoded: str) -> str:
    """Why these are no certificates; empty when they are, or there are none."""
    if not encoded:
        return ""
    from cryptography import x509  # noqa: PLC0415

    blocks = list(_BLOCK.finditer(_decoded(encoded)))
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    for block in blocks:
        sort = block[1].decode(errors="replace")
        if sort != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{sort}"'
        if b":" in block[2]:
            return "no PEM block headers are permitted"
        try:
            x509.load_pem_x509_certificate(block[0] + b"\n")
        except ValueError as problem:
            return f"x509: malformed certificate: {problem}"
    return ""


def preserve(new: Raw, old: Raw) -> None:
    """Decisions stay as they are where a signer sends them along."""
    for kind in _DECISIONS:
        found, there = _of(new, kind), _of(old, kind)
        if len(found) == len(there):
            for one, was in zip(found, there, strict=True):
                one.clear()
                one.update(was)


def stamp(new: Raw, old: Raw, now: str) -> None:
    """When a condition was told, and since when it is so, where nobody says."""
    since = {
        (one.get("type"), one.get("status")): one["lastTransitionTime"]
        for one in reversed(_of(old))
        if one.get("lastTransitionTime")
    }
    for one in _of(new):
        one["lastUpdateTime"] = one.get("lastUpdateTime") or now
        before: Any = since.get((one.get("type"), one.get("status")), now)
        one["lastTransitionTime"] = one.get("lastTransitionTime") or before
