"""What a ClusterTrustBundle may say, in any of its versions (KEP-3257): trust anchors, and whose they are."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import signers
from kybern.api.rules.causes import all_invalid, invalid, too_long, unchanged
from kybern.api.rules.tables import NAME, NONE, dig, name, text
from kybern.machinery import pem
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Raw, Table

GATE = "ClusterTrustBundle"
SELECTABLE = {"spec.signerName": lambda raw: text(dig(raw, "spec", "signerName"))}
LARGEST = 1024 * 1024
"""Bytes of one bundle."""
_FIELD, _OMITTED = "spec.trustBundle", "<value omitted>"


def _cells(raw: Raw, _now: float) -> list[Any]:
    return [name(raw), dig(raw, "spec", "signerName") or NONE]


TABLE = Table((NAME, Column("SignerName")), _cells)


def default(raw: Raw) -> None:
    raw.setdefault("spec", {}).setdefault("trustBundle", "")


def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec, was = new.get("spec") or {}, (old or {}).get("spec") or {}
    signer, anchors = spec.get("signerName") or "", spec.get("trustBundle") or ""
    yield from _names(new["metadata"], signer)
    if signer:
        yield from signers.signer_name("spec.signerName", signer)
    # What is there already stays readable for later versions, whatever they think of it.
    if old is None or anchors != (was.get("trustBundle") or ""):
        yield from _anchors(anchors)
    if old is not None:
        yield from unchanged("spec.signerName", signer, was.get("signerName") or "")


def _names(metadata: Raw, signer: str) -> Iterator[Cause]:
    given, start = metadata.get("name") or "", metadata.get("generateName") or ""
    if start:
        wrong = signers.bundle_name(signer, start, prefix=True)
        yield from all_invalid("metadata.generateName", start, wrong)
    yield from all_invalid("metadata.name", given, signers.bundle_name(signer, given))


def _anchors(text: str) -> Iterator[Cause]:
    if len(text.encode(errors="surrogatepass")) > LARGEST:
        yield too_long(_FIELD, LARGEST)
        return
    found: dict[bytes, list[int]] = {}
    flaws = []
    for at, block in enumerate(pem.decode(text)):
        if wrong := _wrong(block):
            flaws.append(f"entry {at} {wrong}")
        else:
            found.setdefault(block.data, []).append(at)
    if not flaws:
        flaws = [
            f"duplicate trust anchor (indices [{' '.join(map(str, at))}])"
            for at in found.values()
            if len(at) > 1
        ]
    if not flaws and not found:
        flaws = ["at least one trust anchor must be provided"]
    yield from (invalid(_FIELD, _OMITTED, flaw) for flaw in flaws)


def _wrong(block: pem.Block) -> str:
    """Why this is no authority's certificate; empty when it is one."""
    # Only imported when somebody publishes anchors: it costs ten megabytes.
    from cryptography import x509  # noqa: PLC0415

    if block.kind != "CERTIFICATE":
        return f"has bad block type: {block.kind}"
    if block.headers:
        return "has PEM block headers"
    try:
        extensions = x509.load_der_x509_certificate(block.data).extensions
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    except (ValueError, x509.DuplicateExtension):
        return "does not parse as X.509"
    return "" if basic.ca else "does not have the CA bit set"
