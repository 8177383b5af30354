"""A pod's RuntimeClass must exist; it brings the pod its overhead and where it can run."""

from typing import Any

from kybern.admission.framework import Plugin, Request, refused
from kybern.api.asked import amounts
from kybern.machinery.kind import Raw

GROUP = "node.k8s.io"


async def mutate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation != "CREATE":
        return
    spec = request.new.get("spec") or {}
    found = await _class(request, spec)
    if found is None:
        return
    fixed = (found.get("overhead") or {}).get("podFixed")
    if fixed:
        _check_overhead(request, spec, fixed)
        spec["overhead"] = dict(fixed)
    scheduling = found.get("scheduling")
    if scheduling:
        _place(request, spec, scheduling)


async def validate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation != "CREATE":
        return
    spec = request.new.get("spec") or {}
    found = await _class(request, spec)
    fixed = ((found or {}).get("overhead") or {}).get("podFixed")
    if fixed:
        _check_overhead(request, spec, fixed)
    elif spec.get("overhead"):
        raise refused(
            request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        )


async def _class(request: Request, spec: Raw) -> Raw | None:
    name = spec.get("runtimeClassName")
    if name is None:
        return None
    found = await request.lookup.get(GROUP, "runtimeclasses", "", name)
    found = found or await request.lookup.get_live(GROUP, "runtimeclasses", "", name)
    if found is None:
        raise refused(request, f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _check_overhead(request: Request, spec: Raw, fixed: Raw) -> None:
    if spec.get("overhead") and amounts(spec["overhead"]) != amounts(fixed):
        raise refused(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")


def _place(request: Request, spec: Raw, scheduling: Raw) -> None:
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in sorted((scheduling.get("nodeSelector") or {}).items()):
        if selector.setdefault(key, value) != value:
            text = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}"
            raise refused(request, f"{text}; pod.spec.nodeSelector[{key}] = {selector[key]}")
    if selector:
        spec["nodeSelector"] = selector
    both = [*(spec.get("tolerations") or ()), *(scheduling.get("tolerations") or ())]
    if both:
        spec["tolerations"] = _merged(both)


def _merged(tolerations: list[Any]) -> list[Any]:
    """Without those that another one includes; of equal ones the first stays."""
    kept: list[Any] = []
    for at, one in enumerate(tolerations):
        later = any(other != one and _includes(other, one) for other in tolerations[at + 1 :])
        if not later and not any(_includes(other, one) for other in kept):
            kept.append(one)
    return kept


def _includes(wide: Any, narrow: Any) -> bool:
    if wide == narrow:
        return True
    every_key = not wide.get("key") and wide.get("operator") == "Exists"
    if wide.get("key", "") != narrow.get("key", "") and not every_key:
        return False
    if wide.get("effect") and wide["effect"] != narrow.get("effect"):
        return False
    if wide.get("effect") == "NoExecute" and wide.get("tolerationSeconds") is not None:
        seconds = narrow.get("tolerationSeconds")
        if seconds is None or seconds > wide["tolerationSeconds"]:
            return False
    if wide.get("operator", "Equal") == "Exists":
        return True
    return (narrow.get("operator", "Equal"), narrow.get("value")) == ("Equal", wide.get("value"))


PLUGIN = Plugin("RuntimeClass", mutate=mutate, validate=validate, resources=frozenset({("", "pods")}))
