"""The quality-of-service class of a pod: upstream's ComputePodQOS over cpu and memory.

Guaranteed: every container limits both and asks for exactly that. BestEffort: none says anything. Burstable: the rest.
A pod that states resources as a whole is judged by those alone.
"""

from kybern.machinery import quantity
from kybern.machinery.kind import Raw

_COUNTED = ("cpu", "memory")
_ZERO = quantity.parse("0")


def _amounts(values: Raw | None) -> dict[str, str]:
    """The counted resources that are not zero, canonical."""
    found = {}
    for key in _COUNTED:
        text = (values or {}).get(key)
        if text is not None:
            amount = quantity.parse(text)
            if amount > _ZERO:
                found[key] = str(amount)
    return found


def class_of(spec: Raw) -> str:
    resources = spec.get("resources")
    if resources and (resources.get("limits") or resources.get("requests")):
        return _class([resources])
    every = [
        container.get("resources") or {}
        for kind in ("containers", "initContainers")
        for container in spec.get(kind) or ()
    ]
    return _class(every)


def _class(every: list[Raw]) -> str:
    stated = [part for part in every if part.get("limits") or part.get("requests")]
    if not stated:
        return "BestEffort"
    amounts = [(_amounts(part.get("requests")), _amounts(part.get("limits"))) for part in every]
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    if all(len(limits) == len(_COUNTED) and requests == limits for requests, limits in amounts):
        return "Guaranteed"
    return "Burstable"
