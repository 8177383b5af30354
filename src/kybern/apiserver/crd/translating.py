"""Asks a definition's conversion webhook: ConversionReview out, objects in another version back, and whether they may be.

A webhook may change labels and annotations, and nothing else of metadata: that is the server's. All objects of one question
travel together.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kybern.admission.webhooks.target import Caller, CallFailed, Target, Unusable, target_of
from kybern.apiserver import problems
from kybern.apiserver.crd import metrics
from kybern.machinery import meta
from kybern.machinery.kind import Raw

GROUP, KIND = "apiextensions.k8s.io", "ConversionReview"
_VERSIONS = ("v1", "v1beta1")
_SECONDS = 30
_THEIRS = ("labels", "annotations")


class Bad(Exception):
    """An answer that is none. The text is upstream's."""


class WebhookTranslation:
    """See ``machinery.translation.Translation``."""

    def __init__(
        self,
        caller: Caller,
        conversion: Raw,
        stored: str,
        uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        webhook = conversion["webhook"]
        self.stored = stored
        self._caller = caller
        self._target: Target = target_of(webhook["clientConfig"])
        self._accepted: tuple[str, ...] = tuple(webhook.get("conversionReviewVersions") or ())
        self._uid = uid

    async def convert(self, objects: Sequence[Raw], api_version: str) -> list[Raw]:
        strange = [one for one in objects if one["apiVersion"] != api_version]
        if not strange:
            return list(objects)
        began = time.monotonic()
        try:
            converted = iter(await self._asked(strange, api_version))
        except Bad as problem:
            metrics.failed(time.monotonic() - began)
            raise problems.Unexpected(f"conversion webhook for {_shown(strange[0])} {problem}") from problem
        metrics.converted(time.monotonic() - began)
        return [one if one["apiVersion"] == api_version else next(converted) for one in objects]

    async def _asked(self, objects: list[Raw], api_version: str) -> list[Raw]:
        version = next((one for one in self._accepted if one in _VERSIONS), None)
        if version is None:
            raise Bad("failed: no supported conversion review versions")
        uid = self._uid()
        try:
            data = await self._caller.post(
                self._target, question(objects, api_version, version, uid), _SECONDS, told=False
            )
        except (CallFailed, Unusable) as problem:
            raise Bad(f"failed: {problem}") from problem
        found = answer(data, version, uid)
        if len(found) != len(objects):
            raise Bad(f"returned {len(found)} objects, expected {len(objects)}")
        return [
            checked(one, new, api_version, place)
            for place, (one, new) in enumerate(zip(objects, found, strict=True))
        ]


def _shown(raw: Raw) -> str:
    return f"{raw['apiVersion']}, Kind={raw['kind']}"


def question(objects: list[Raw], api_version: str, version: str, uid: str) -> bytes:
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
    review = {"kind": KIND, "apiVersion": f"{GROUP}/{version}", "request": request}
    return msgspec.json.encode(
        {**review, "response": {"uid": "", "convertedObjects": None, "result": {"metadata": {}}}}
    )


def answer(data: bytes, version: str, uid: str) -> list[Any]:
    """The converted objects. Raises Bad."""
    try:
        review = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Bad(f"failed: couldn't get version/kind; json parse error: {problem}") from problem
    if not isinstance(review, dict):
        raise Bad("failed: couldn't get version/kind; json parse error: it is not an object")
    said = review.get("response")
    if version == "v1":
        _of_version(review, said, uid)
    if not isinstance(said, dict):
        raise Bad("failed: no response provided")
    result = said.get("result") or {}
    if result.get("status") != "Success":
        text = result.get("message") or (
            f"response.result.status was '{result.get('status') or ''}', not 'Success'"
        )
        raise Bad(f"failed: {text}")
    return list(said.get("convertedObjects") or ())


def _of_version(review: Raw, said: Any, uid: str) -> None:
    if (review.get("apiVersion"), review.get("kind")) != (f"{GROUP}/v1", KIND):
        shown = f"{review.get('apiVersion') or '/'}, Kind={review.get('kind') or ''}"
        raise Bad(f"failed: expected webhook response of {GROUP}/v1, Kind={KIND}, got {shown}")
    if isinstance(said, dict) and said.get("uid") != uid:
        raise Bad(f'failed: expected response.uid="{uid}", got "{said.get("uid") or ""}"')


def checked(old: Raw, new: Any, api_version: str, place: int) -> Raw:
    """A converted object with the metadata that it had. Raises Bad."""
    where = f"returned invalid converted object at index {place}:"
    if not isinstance(new, dict):
        raise Bad(f"{where} it is not an object")
    if new.get("apiVersion") != api_version:
        got = new.get("apiVersion") or "/"
        raise Bad(f"{where} invalid groupVersion (expected {api_version}, received {got})")
    if new.get("kind") != old["kind"]:
        raise Bad(f"{where} invalid kind (expected {old['kind']}, received {new.get('kind') or ''})")
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        raise Bad(
            f"returned invalid metadata in object at index {place}: missing metadata in converted object"
        )
    for key, name in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        was, now = old["metadata"].get(key) or "", metadata.get(key) or ""
        if was != now:
            raise Bad(f"{where} must have the same {name}: {was} != {now}")
    return {**new, "metadata": _restored(old["metadata"], metadata, place)}


def _restored(old: Mapping[str, Any], new: Raw, place: int) -> Raw:
    found = {key: value for key, value in old.items() if key not in _THEIRS}
    where = f"returned invalid metadata in object at index {place}:"
    for key in _THEIRS:
        given = new.get(key)
        if given is None:
            continue
        if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
            raise Bad(f"{where} metadata.{key} must be strings in converted object")
        if given != old.get(key):
            causes = meta.validate({"name": "x", key: given}, False, lambda _name: ())
            for cause in causes:
                raise Bad(f"{where} {cause.line()}")
        found[key] = given
    return found
