"""LimitRanges of a namespace: they fill in what containers do not ask for, and bound what is asked for."""

from collections.abc import Iterator
from typing import Any

from kybern.admission.framework import Plugin, Request, refused
from kybern.api.asked import Amounts, amounts, of_pod
from kybern.machinery.kind import Raw
from kybern.machinery.quantity import Quantity

ANNOTATION = "kubernetes.io/limit-ranger"


async def mutate(request: Request) -> None:
    if not _limited(request) or request.kind.plural != "pods":
        return
    for limits in await _ranges(request):
        _fill(request.new or {}, limits)


async def validate(request: Request) -> None:
    if not _limited(request):
        return
    new = request.new or {}
    for limits in await _ranges(request):
        judge = _pod_problems if request.kind.plural == "pods" else _claim_problems
        problems = list(dict.fromkeys(judge(new, (limits.get("spec") or {}).get("limits") or [])))
        if problems:
            raise refused(request, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def _limited(request: Request) -> bool:
    """What containers ask for does not change after creation, but by a resize."""
    new = request.new
    if new is None or new["metadata"].get("deletionTimestamp"):
        return False
    if request.kind.plural == "pods":
        return (request.operation, request.subresource) in (("CREATE", ""), ("UPDATE", "resize"))
    return not request.subresource and request.operation in ("CREATE", "UPDATE")


async def _ranges(request: Request) -> list[Raw]:
    found = await request.lookup.list("", "limitranges", request.namespace)
    return sorted(found, key=lambda one: str(one["metadata"]["name"]))


def _fill(pod: Raw, limits: Raw) -> None:
    """Add the defaults of one LimitRange, and say so in an annotation."""
    requests: dict[str, str] = {}
    bounds: dict[str, str] = {}
    for item in (limits.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            requests |= item.get("defaultRequest") or {}
            bounds |= item.get("default") or {}
    notes: list[str] = []
    spec = pod.get("spec") or {}
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(field) or ():
            for sort, defaults in (("requests", requests), ("limits", bounds)):
                added = _add_missing(container, sort, defaults)
                if added:
                    notes.append(f"{', '.join(added)} {sort[:-1]} for {word} {container['name']}")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def _add_missing(container: Any, sort: str, defaults: dict[str, str]) -> list[str]:
    resources = container.get("resources") or {}
    held = resources.get(sort) or {}
    missing = {name: amount for name, amount in sorted(defaults.items()) if name not in held}
    if missing:
        container["resources"] = {**resources, sort: {**held, **missing}}
    return list(missing)


def _pod_problems(pod: Raw, items: list[Any]) -> Iterator[str]:
    spec = pod.get("spec") or {}
    for item in items:
        if item.get("type") == "Container":
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                resources = container.get("resources") or {}
                yield from _bounds(item, amounts(resources.get("requests")), amounts(resources.get("limits")))
        elif item.get("type") == "Pod":
            yield from _bounds(item, of_pod(pod, "requests"), of_pod(pod, "limits"))


def _claim_problems(claim: Raw, items: list[Any]) -> Iterator[str]:
    asked = amounts(((claim.get("spec") or {}).get("resources") or {}).get("requests"))
    for item in items:
        if item.get("type") != "PersistentVolumeClaim":
            continue
        for name, least in sorted(amounts(item.get("min")).items()):
            yield from _too_little(name, item["type"], str(least), asked, least)
        for name, most in sorted(amounts(item.get("max")).items()):
            head = f"maximum {name} usage per {item['type']} is {most}"
            if name not in asked:
                yield f"{head}, but no request is specified"
            elif asked[name] > most:
                yield f"{head}, but request is {asked[name]}"


def _bounds(item: Any, requests: Amounts, limits: Amounts) -> Iterator[str]:
    of = item["type"]
    for name, least in sorted(amounts(item.get("min")).items()):
        yield from _too_little(name, of, str(least), requests, least)
        if requests.get(name, least) >= least and name in limits and limits[name] < least:
            yield f"minimum {name} usage per {of} is {least}, but limit is {limits[name]}"
    for name, most in sorted(amounts(item.get("max")).items()):
        yield from _too_much(
            f"maximum {name} usage per {of} is {most}", most, requests.get(name), limits.get(name)
        )
    for name, ratio in sorted(amounts(item.get("maxLimitRequestRatio")).items()):
        head = f"{name} max limit to request ratio per {of} is {ratio}"
        yield from _too_wide(head, ratio, requests.get(name), limits.get(name))


def _too_much(head: str, most: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterator[str]:
    if limit is None:
        yield f"{head}. No limit is specified"
    elif limit > most:
        yield f"{head}, but limit is {limit}"
    elif request is not None and request > most:
        yield f"{head}, but request is {request}"


def _too_wide(head: str, ratio: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterator[str]:
    if not request:
        yield f"{head}, but no request is specified or request is 0"
    elif not limit:
        yield f"{head}, but no limit is specified or limit is 0"
    elif limit.nano * 10**9 > ratio.nano * request.nano:
        yield f"{head}, but provided ratio is {limit.nano / request.nano:.6f}"


def _too_little(name: str, of: str, shown: str, asked: Amounts, least: Any) -> Iterator[str]:
    head = f"minimum {name} usage per {of} is {shown}"
    if name not in asked:
        yield f"{head}. No request is specified"
    elif asked[name] < least:
        yield f"{head}, but request is {asked[name]}"


PLUGIN = Plugin(
    "LimitRanger",
    mutate=mutate,
    validate=validate,
    resources=frozenset({("", "pods"), ("", "persistentvolumeclaims")}),
)
