"""A pod that runs may be resized only to what its node could carry at all."""

from kybern.admission.framework import Plugin, Request, refused
from kybern.api.asked import amounts, of_pod
from kybern.machinery.errors import Cause, Details, Forbidden


async def validate(request: Request) -> None:
    new, old = request.new, request.old
    if new is None or old is None or (request.operation, request.subresource) != ("UPDATE", "resize"):
        return
    node = (new.get("spec") or {}).get("nodeName", "")
    if not node or new["metadata"].get("generation") == old["metadata"].get("generation"):
        return
    found = await request.lookup.get("", "nodes", "", node)
    if found is None:
        raise refused(request, f'node "{node}" not found')
    system = (found["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux")
    if system != "linux":
        text = f"node {node} runs {system}, which does not support resizing pods"
        raise _because(request, "UnsupportedPlatform", text)
    allocatable = amounts((found.get("status") or {}).get("allocatable"))
    asked, before = of_pod(new, "requests"), of_pod(old, "requests")
    for name in ("cpu", "memory"):
        if (
            name in asked
            and asked[name] != before.get(name)
            and asked[name] > allocatable.get(name, asked[name])
        ):
            measure = [
                one.milli() if name == "cpu" else one.value() for one in (asked[name], allocatable[name])
            ]
            text = f"node didn't have enough allocatable resources: {name}, requested: {measure[0]}"
            raise _because(request, "NodeCapacity", f"{text}, allocatable: {measure[1]}")


def _because(request: Request, reason: str, message: str) -> Forbidden:
    error = refused(request, message)
    found = error.details
    assert found is not None
    error.details = Details(found.name, found.group, found.kind, causes=(Cause("", reason, message),))
    return error


PLUGIN = Plugin("PodResizeValidator", validate=validate, resources=frozenset({("", "pods")}))
