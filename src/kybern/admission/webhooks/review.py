"""What webhooks are sent and what they may answer: AdmissionReview v1 and v1beta1. Pure."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kybern.admission.seen import View, admission_request
from kybern.machinery.errors import PassedOn
from kybern.machinery.kind import Raw

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")
JSON_PATCH = "JSONPatch"
_KIND = "AdmissionReview"


class BadReview(Exception):
    """A webhook answered something that is no answer. The text is upstream's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook said. ``patch`` are the operations of a JSON patch."""

    allowed: bool
    status: Raw | None = None
    patch: list[Raw] = field(default_factory=list)
    patch_type: str = ""
    warnings: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)


def version_of(accepted: tuple[str, ...]) -> str:
    """The first version that both know. Raises BadReview."""
    for version in accepted:
        if version in VERSIONS:
            return version
    raise BadReview("webhook does not accept known AdmissionReview versions (v1, v1beta1)")


def question(seen: View, version: str, uid: str) -> bytes:
    request = {"uid": uid, **admission_request(seen), "object": seen.new, "oldObject": seen.old}
    body = {"kind": _KIND, "apiVersion": f"{GROUP}/{version}", "request": request}
    return msgspec.json.encode(body)


def answer(data: bytes, version: str, uid: str, *, mutating: bool) -> Verdict:
    """Raises BadReview."""
    review = decoded(data)
    said = review.get("response")
    if not isinstance(said, dict):
        raise BadReview("webhook response was absent")
    if version == "v1":
        _check(review, said, uid)
        kind = _patch_type(said, mutating=mutating)
    else:
        kind = JSON_PATCH if mutating and said.get("patch") else ""
    return Verdict(
        allowed=said.get("allowed") is True,
        status=said.get("status") if isinstance(said.get("status"), dict) else None,
        patch=_patch(said.get("patch")) if mutating else [],
        patch_type=kind,
        warnings=tuple(str(text) for text in said.get("warnings") or ()),
        annotations={str(key): str(value) for key, value in (said.get("auditAnnotations") or {}).items()},
    )


def decoded(data: bytes) -> Raw:
    """An answer as an object. Raises BadReview."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise BadReview(f"couldn't get version/kind; json parse error: {problem}") from problem
    if not isinstance(found, dict):
        raise BadReview("couldn't get version/kind; json parse error: it is not an object")
    return found


def _check(review: Raw, said: Raw, uid: str) -> None:
    if said.get("uid") != uid:
        raise BadReview(f'expected response.uid="{uid}", got "{said.get("uid") or ""}"')
    version, kind = review.get("apiVersion") or "", review.get("kind") or ""
    if (version, kind) != (f"{GROUP}/v1", _KIND):
        group, _, short = str(version).rpartition("/")
        shown = f"{group}/{short}, Kind={kind}"
        raise BadReview(f"expected webhook response of {GROUP}/v1, Kind={_KIND}, got {shown}")


def _patch_type(said: Raw, *, mutating: bool) -> str:
    patch, kind = said.get("patch"), said.get("patchType")
    if not mutating:
        if patch:
            raise BadReview("validating webhook may not return response.patch")
        if kind is not None:
            raise BadReview("validating webhook may not return response.patchType")
        return ""
    if patch and kind is None:
        raise BadReview("webhook returned response.patch but not response.patchType")
    if not patch and kind is not None:
        raise BadReview("webhook returned response.patchType but not response.patch")
    if kind == "":
        raise BadReview('webhook returned invalid response.patchType of ""')
    return str(kind or "")


class BadPatch(BadReview):
    """The patch is none."""


def _patch(given: Any) -> list[Raw]:
    """Operations out of base64 of JSON."""
    if not given:
        return []
    try:
        found = msgspec.json.decode(base64.b64decode(given, validate=True))
    except (binascii.Error, TypeError, ValueError, msgspec.DecodeError) as problem:
        raise BadPatch(str(problem)) from problem
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadPatch("json: cannot unmarshal it into Go value of type jsonpatch.Patch")
    return found


def refusal(webhook: str, status: Raw | None) -> PassedOn:
    """A refusal as the client reads it: the webhook's own status, told whose it is."""
    found: Raw = dict(status or {})
    denied = f'admission webhook "{webhook}" denied the request'
    why = found.get("message") or found.get("reason")
    found["message"] = f"{denied}: {why}" if why else f"{denied} without explanation"
    code = found.get("code")
    if not isinstance(code, int) or code < 400:
        found["code"] = 400
    if found.get("status") in (None, "", "Success"):
        found["status"] = "Failure"
    return PassedOn(found)
