"""Pods of a namespace tolerate what it has them tolerate, and no more than it allows. Off by default.

Upstream's ``plugin/pkg/admission/podtolerationrestriction`` and its Configuration
(podtolerationrestriction.admission.k8s.io/v1alpha1), which holds for namespaces whose annotations say nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from kybern.admission.framework import Plugin, Request, failed
from kybern.admission.namespaces import namespace_of
from kybern.api.rules import qos
from kybern.api.rules.pods import scheduling
from kybern.machinery.kind import Raw

GROUP = "podtolerationrestriction.admission.k8s.io"
DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
MEMORY_PRESSURE: Raw = {
    "key": "node.kubernetes.io/memory-pressure",
    "operator": "Exists",
    "effect": "NoSchedule",
}
_FIELDS = ("key", "operator", "value", "effect", "tolerationSeconds")

type Tolerations = list[Any]


class Toleration(msgspec.Struct, rename="camel"):
    """How annotations hold one; what else they say is passed over."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


def covers(wide: Raw, narrow: Raw) -> bool:
    """Whether one toleration holds wherever the other does (upstream's IsSuperset, which takes no operator for Equal)."""
    if _parts(wide) == _parts(narrow):
        return True
    key, operator, value, effect, seconds = _parts(wide)
    if key != narrow.get("key", "") and (key or operator != "Exists"):
        return False
    if effect not in ("", narrow.get("effect", "")):
        return False
    if effect == "NoExecute" and seconds is not None:
        other = narrow.get("tolerationSeconds")
        if other is None or other > seconds:
            return False
    if operator in ("", "Equal"):
        return bool(narrow.get("operator") == "Equal" and value == narrow.get("value", ""))
    return bool(operator == "Exists")


def merged(first: Sequence[Raw], second: Sequence[Raw]) -> Tolerations:
    """Both, without those that another covers; of two that are the same the first stays."""
    every = [*first, *second]
    found: Tolerations = []
    for at, one in enumerate(every):
        later = (other for other in every[at + 1 :] if _parts(other) != _parts(one))
        if not any(covers(other, one) for other in (*found, *later)):
            found.append(one)
    return found


def _parts(toleration: Raw) -> tuple[Any, ...]:
    return tuple(toleration.get(name, None if name == _FIELDS[-1] else "") for name in _FIELDS)


def settings_of(configuration: Raw) -> tuple[Tolerations, Tolerations]:
    """Default and whitelist. Raises ValueError in upstream's words."""
    if configuration and (
        (configuration.get("apiVersion"), configuration.get("kind")) != (f"{GROUP}/v1alpha1", "Configuration")
    ):
        raise ValueError(f"its configuration is no Configuration of {GROUP}/v1alpha1")
    found = []
    problems = []
    for name in ("default", "whitelist"):
        try:
            read = msgspec.convert(configuration.get(name) or [], list[Toleration])
        except msgspec.ValidationError as problem:
            raise ValueError(f"{name} is no list of tolerations: {problem}") from problem
        found.append([_plain(one) for one in read])
        problems += [
            one.line() for one in scheduling.tolerations(f"podtolerationrestriction.{name}", found[-1])
        ]
    if problems:
        raise ValueError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return found[0], found[1]


def _plain(toleration: Toleration) -> Raw:
    return {key: value for key, value in msgspec.to_builtins(toleration).items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class Restriction:
    """What pods tolerate (``usual``) and may tolerate (``allowed``) where their namespace says nothing."""

    usual: Tolerations
    allowed: Tolerations

    async def mutate(self, request: Request) -> None:
        if (pod := _pod(request)) is None:
            return
        spec = pod.setdefault("spec", {})
        extra: Tolerations = []
        if request.operation == "CREATE":
            own = await _annotated(request, DEFAULTS)
            extra = [*(self.usual if own is None else own)]
        if ((pod.get("status") or {}).get("qosClass") or qos.class_of(spec)) != "BestEffort":
            extra.append(MEMORY_PRESSURE)
        if extra:
            # Copies, since what follows may change what a pod has.
            spec["tolerations"] = [{**one} for one in merged(spec.get("tolerations") or [], extra)]
        await self.validate(request)

    async def validate(self, request: Request) -> None:
        pod = _pod(request)
        held = ((pod or {}).get("spec") or {}).get("tolerations") or []
        if not held:
            return
        own = await _annotated(request, ALLOWED)
        whose, wide = ("cluster", self.allowed) if own is None else ("namespace", own)
        if wide and not all(any(covers(other, one) for other in wide) for one in held):
            raise failed(
                "pod tolerations (possibly merged with namespace default tolerations) conflict with its "
                f"{whose} whitelist"
            )


def configured(configuration: Raw) -> Plugin:
    """The plugin with these settings. Raises ValueError."""
    restriction = Restriction(*settings_of(configuration))
    return replace(PLUGIN, mutate=restriction.mutate, validate=restriction.validate, configure=None)


def _pod(request: Request) -> Raw | None:
    return None if request.subresource or request.operation not in ("CREATE", "UPDATE") else request.new


async def _annotated(request: Request, annotation: str) -> Tolerations | None:
    """What a namespace's annotation says, None without one. Raises ApiError."""
    namespace = await namespace_of(request)
    text = (namespace["metadata"].get("annotations") or {}).get(annotation)
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=list[Toleration] | None) if text else None
    except msgspec.DecodeError as problem:
        raise failed(
            f"cannot read annotation {annotation} of namespace {request.namespace}: {problem}"
        ) from problem
    return [_plain(one) for one in found or ()]


PLUGIN = Plugin(
    "PodTolerationRestriction", default=False, resources=frozenset({("", "pods")}), configure=configured
)
