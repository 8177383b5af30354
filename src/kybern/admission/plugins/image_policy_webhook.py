"""A webhook says whether the images of a pod may be used. Off by default.

Upstream's ``plugin/pkg/admission/imagepolicy``: an ImageReview of imagepolicy.k8s.io/v1alpha1 with the images of the pod's
containers (or of its ephemeral ones, when those are written) and its annotations of ``*.image-policy.k8s.io/*`` is posted to
the server of a kubeconfig. What it says is kept for a while; when nobody answers, ``defaultAllow`` decides.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec

from kybern.admission.framework import Plugin, Request, refused
from kybern.client.kubeconfig import BadConfig, load
from kybern.client.posting import Posting, Unanswered
from kybern.machinery import duration, names
from kybern.machinery.kind import Raw

log = logging.getLogger(__name__)

NAME, SETTINGS = "ImagePolicyWebhook", "imagePolicy"
MARK = ".image-policy.k8s.io/"
AUDIT = "imagepolicywebhook.image-policy.k8s.io/"
OPENED = "alpha.image-policy.k8s.io/failed-open"
KEPT = 1024
"""So many answers are remembered (upstream's number)."""
_SECOND, _MILLI = 10**9, 10**6
_NEVER = -1
_FIELDS = {"kubeConfigFile": str, "allowTTL": int, "denyTTL": int, "retryBackoff": int, "defaultAllow": bool}


class Poster(Protocol):
    """See ``client.posting.Posting``."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def post(self, review: Raw) -> Raw: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """``allowed`` and ``denied``: seconds that such an answer is kept. ``backoff``: seconds before the second try."""

    file: str
    allowed: float
    denied: float
    backoff: float
    opens: bool


def settings_of(configuration: Raw) -> Settings:
    """Raises ValueError, for times in upstream's words."""
    given = configuration.get(SETTINGS)
    if not isinstance(given, Mapping) or not given.get("kubeConfigFile"):
        raise ValueError(
            f"{SETTINGS}.kubeConfigFile: Required value: a kubeconfig file that names the webhook"
        )
    for name, type_ in _FIELDS.items():
        if name in given and (not isinstance(given[name], type_) or (type_ is int and given[name] is True)):
            raise ValueError(
                f"{SETTINGS}.{name}: Invalid value: {given[name]!r}: must be of type {type_.__name__}"
            )
    least, most = _SECOND, 30 * 60 * _SECOND
    return Settings(
        given["kubeConfigFile"],
        _time(given.get("allowTTL"), _SECOND, least, most, 5 * 60 * _SECOND),
        _time(given.get("denyTTL"), _SECOND, least, most, 30 * _SECOND),
        _time(given.get("retryBackoff"), _MILLI, 1, 5 * 60 * _SECOND, 500 * _MILLI),
        given.get("defaultAllow", False),
    )


def _time(value: int | None, unit: int, least: int, most: int, usual: int) -> float:
    """In seconds; of a number of units, of which none is the usual one, and -1 is no time at all."""
    if value == _NEVER:
        return 0.0
    found = (value or 0) * unit or usual
    if value and not least < found <= most:
        between = f"between {duration.form(least)} and {duration.form(most)}"
        raise ValueError(f"valid value is {between}, got {duration.form(found)}")
    return found / _SECOND


def spec_of(request: Request) -> Raw:
    """What is asked about a pod."""
    pod = request.new or {}
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    lists = ("ephemeralContainers",) if request.subresource else ("containers", "initContainers")
    images = [{"image": one.get("image", "")} for part in lists for one in spec.get(part) or ()]
    annotations = {key: text for key, text in (metadata.get("annotations") or {}).items() if MARK in key}
    found: Raw = {"containers": images, "annotations": annotations, "namespace": request.namespace}
    return {name: value for name, value in found.items() if value}


@dataclass(slots=True)
class Images:
    """The plugin at work."""

    settings: Settings
    poster: Poster
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[bytes, tuple[Mapping[str, Any], float]] = field(default_factory=OrderedDict)

    async def validate(self, request: Request) -> None:
        """Raises Forbidden."""
        if request.operation not in ("CREATE", "UPDATE") or request.subresource not in (
            "",
            "ephemeralcontainers",
        ):
            return
        spec = spec_of(request)
        key = msgspec.json.encode(spec, order="deterministic")
        status = self._remembered(key)
        if status is None:
            try:
                status = await self._asked(spec, key)
            except Unanswered as problem:
                self._unanswered(request, problem)
                return
        for name, text in _annotations(status):
            request.annotations[name] = text
        if status.get("allowed") is not True:
            why = status.get("reason")
            raise refused(
                request,
                f"image policy webhook backend denied one or more images: {why}"
                if why
                else "one or more images rejected by webhook backend",
            )

    def _remembered(self, key: bytes) -> Mapping[str, Any] | None:
        known = self._known.get(key)
        if known is None:
            return None
        if known[1] <= self.clock():
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return known[0]

    async def _asked(self, spec: Raw, key: bytes) -> Mapping[str, Any]:
        await self.poster.start()
        review = {
            "kind": "ImageReview",
            "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "metadata": {},
            "spec": spec,
            "status": {"allowed": False},
        }
        status: Mapping[str, Any] = (await self.poster.post(review)).get("status") or {}
        seconds = self.settings.allowed if status.get("allowed") is True else self.settings.denied
        if seconds:
            self._known[key] = status, self.clock() + seconds
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return status

    def _unanswered(self, request: Request, problem: Unanswered) -> None:
        log.warning("Error contacting the webhook of image policies: %s", problem)
        if not self.settings.opens:
            raise refused(request, str(problem)) from problem
        request.annotations[f"{AUDIT}failed-open"] = "true"
        metadata = (request.new or {}).setdefault("metadata", {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), OPENED: "true"}


def _annotations(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, text in (status.get("auditAnnotations") or {}).items():
        name = f"{AUDIT}{key}"
        if any(names.label_key(name)):
            log.warning("The webhook of image policies gave an audit annotation of a wrong name: %r", key)
        else:
            yield name, str(text)


def configured(configuration: Raw) -> Plugin:
    """The plugin with its webhook. Raises ValueError."""
    settings = settings_of(configuration)
    try:
        config = load(settings.file)
    except BadConfig as problem:
        raise ValueError(f"{SETTINGS}.kubeConfigFile: {problem}") from problem
    return made(Images(settings, Posting(config, first=settings.backoff)))


def made(images: Images) -> Plugin:
    return replace(PLUGIN, validate=images.validate, close=images.poster.close, configure=None)


PLUGIN = Plugin(NAME, default=False, resources=frozenset({("", "pods")}), configure=configured)
