"""Pods of a namespace run on the nodes that are meant for it. Off by default.

Upstream's ``plugin/pkg/admission/podnodeselector``. The nodes are those of the namespace's annotation, else of
``clusterDefaultNodeSelector`` in ``podNodeSelectorPluginConfig``, whose other keys are namespaces and say which labels
their pods may ask for at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kybern.admission.framework import Plugin, Request, denied, failed
from kybern.admission.namespaces import namespace_of
from kybern.machinery import names
from kybern.machinery.causes import invalid
from kybern.machinery.errors import InternalError, NotFound
from kybern.machinery.kind import Raw

ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
SETTINGS, DEFAULT = "podNodeSelectorPluginConfig", "clusterDefaultNodeSelector"

type Labels = dict[str, str]


def labels_of(selector: str) -> Labels:
    """``a=b,c=d`` as labels. Raises ValueError in upstream's words."""
    found: Labels = {}
    for part in selector.split(",") if selector else ():
        pieces = part.split("=")
        if len(pieces) != 2:
            raise ValueError(f"invalid selector: [{' '.join(pieces)}]")
        key, value = (piece.strip() for piece in pieces)
        for field, text, wrong in (
            ("<nil>", key, names.label_key(key)),
            (f"[{key}]", value, names.label_value(value)),
        ):
            if says := "; ".join(wrong):
                raise ValueError(invalid(field, text, says).line())
        found[key] = value
    return found


def settings_of(configuration: Raw) -> Mapping[str, Labels]:
    """By namespace, and what ``DEFAULT`` names. Raises ValueError."""
    # Upstream reads the name of this field whatever its case.
    given = next((value for key, value in configuration.items() if key.lower() == SETTINGS.lower()), None)
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(one, str) for one in given.values()):
        raise ValueError(f"{SETTINGS} is no object of selectors such as {DEFAULT}: env=production")
    found = {}
    for name, selector in given.items():
        try:
            found[name] = labels_of(selector)
        except ValueError as problem:
            raise ValueError(f"{SETTINGS}.{name}: {problem}") from problem
    return found


@dataclass(frozen=True, slots=True)
class Nodes:
    """Which nodes are meant for which namespace. ``settings`` are those of ``settings_of``."""

    settings: Mapping[str, Labels]

    async def mutate(self, request: Request) -> None:
        if (pod := _pod(request)) is None:
            return
        wanted = await self._agreed(request, pod)
        if wanted:
            pod.setdefault("spec", {})["nodeSelector"] = wanted | _selector(pod)
        self._require_allowed(request, pod)

    async def validate(self, request: Request) -> None:
        if (pod := _pod(request)) is None:
            return
        await self._agreed(request, pod)
        self._require_allowed(request, pod)

    async def _agreed(self, request: Request, pod: Raw) -> Labels:
        """The labels of the nodes for a pod's namespace, when the pod's own agree with them. Raises ApiError."""
        found = await _meant(request, self.settings.get(DEFAULT, {}))
        held = _selector(pod)
        if any(held.get(key, value) != value for key, value in found.items()):
            raise denied(request, "pod node label selector conflicts with its namespace node label selector")
        return found

    def _require_allowed(self, request: Request, pod: Raw) -> None:
        allowed = self.settings.get(request.namespace, {})
        if allowed and not _selector(pod).items() <= allowed.items():
            raise denied(request, "pod node label selector labels conflict with its namespace whitelist")


def configured(configuration: Raw) -> Plugin:
    """The plugin with these settings. Raises ValueError."""
    nodes = Nodes(settings_of(configuration))
    return replace(PLUGIN, mutate=nodes.mutate, validate=nodes.validate, configure=None)


def _pod(request: Request) -> Raw | None:
    return None if request.subresource or request.operation != "CREATE" else request.new


def _selector(pod: Raw) -> Labels:
    return (pod.get("spec") or {}).get("nodeSelector") or {}


async def _meant(request: Request, usual: Labels) -> Labels:
    try:
        namespace = await namespace_of(request)
    except NotFound:
        raise InternalError.of(f"namespace {request.namespace} does not exist") from None
    annotated = (namespace["metadata"].get("annotations") or {}).get(ANNOTATION)
    if annotated is None:
        return usual
    try:
        return labels_of(annotated)
    except ValueError as problem:
        raise failed(str(problem)) from problem


PLUGIN = Plugin("PodNodeSelector", default=False, resources=frozenset({("", "pods")}), configure=configured)
