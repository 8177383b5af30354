"""A pod that asks for extended resources tolerates the nodes that are kept for them. Off by default.

Upstream's ``plugin/pkg/admission/extendedresourcetoleration``: whoever taints nodes with devices ``example.com/device``
with NoSchedule need not tell anybody, since pods that ask for such a device get the toleration.
"""

from typing import Any

from kybern.admission.framework import Plugin, Request
from kybern.api.rules import amounts


async def mutate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation not in ("CREATE", "UPDATE"):
        return
    spec = request.new.get("spec") or {}
    asked = {
        resource
        for field in ("containers", "initContainers")
        for container in spec.get(field) or ()
        for resource in (container.get("resources") or {}).get("requests") or ()
        if amounts.extended(resource)
    }
    for resource in sorted(asked):
        spec["tolerations"] = _with(spec.get("tolerations") or [], resource)


def _with(held: list[Any], resource: str) -> list[Any]:
    added = {"key": resource, "operator": "Exists", "effect": "NoSchedule"}
    found = [added if _same(one, added) else one for one in held]
    return found if added in found else [*found, added]


def _same(one: Any, other: Any) -> bool:
    return all(one.get(part, "") == other.get(part, "") for part in ("key", "effect", "operator", "value"))


PLUGIN = Plugin(
    "ExtendedResourceToleration", mutate=mutate, default=False, resources=frozenset({("", "pods")})
)
