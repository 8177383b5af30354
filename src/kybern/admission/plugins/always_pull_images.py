"""Images are pulled each time, so that nobody runs a private one that he has no credentials for. Off by default.

Upstream's ``plugin/pkg/admission/alwayspullimages``: an update that brings no new image is left alone.
"""

from collections.abc import Iterator

from kybern.admission.framework import Plugin, Request, refused
from kybern.machinery.kind import Raw

ALWAYS = "Always"
FIELDS = ("initContainers", "containers", "ephemeralContainers")


async def mutate(request: Request) -> None:
    for container, _ in _containers(request):
        container["imagePullPolicy"] = ALWAYS
    for image, _ in _volumes(request):
        image["pullPolicy"] = ALWAYS


async def validate(request: Request) -> None:
    policies = [
        *((path, one.get("imagePullPolicy", "")) for one, path in _containers(request)),
        *((path, one.get("pullPolicy", "")) for one, path in _volumes(request)),
    ]
    for path, policy in policies:
        if policy != ALWAYS:
            raise refused(request, f'{path}: Unsupported value: "{policy}": supported values: "{ALWAYS}"')


def _spec(request: Request) -> Raw:
    """Of a pod whose images are looked at; empty for all other writes."""
    if request.new is None or request.subresource or request.operation not in ("CREATE", "UPDATE"):
        return {}
    spec: Raw = request.new.get("spec") or {}
    if request.operation == "UPDATE":
        old = (request.old or {}).get("spec") or {}
        if _images(spec) <= _images(old):
            return {}
    return spec


def _images(spec: Raw) -> set[str]:
    return {one.get("image", "") for field in FIELDS for one in spec.get(field) or ()}


def _containers(request: Request) -> Iterator[tuple[Raw, str]]:
    spec = _spec(request)
    for field in FIELDS:
        for at, container in enumerate(spec.get(field) or ()):
            yield container, f"spec.{field}[{at}].imagePullPolicy"


def _volumes(request: Request) -> Iterator[tuple[Raw, str]]:
    for at, volume in enumerate(_spec(request).get("volumes") or ()):
        if volume.get("image") is not None:
            yield volume["image"], f"spec.volumes[{at}].image.pullPolicy"


PLUGIN = Plugin(
    "AlwaysPullImages",
    mutate=mutate,
    validate=validate,
    default=False,
    resources=frozenset({("", "pods")}),
)
