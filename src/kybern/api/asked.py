"""What a pod asks of a node, added up as the scheduler does it."""

from collections.abc import Mapping
from typing import Any

from kybern.machinery.kind import Raw
from kybern.machinery.quantity import Quantity, parse

type Amounts = dict[str, Quantity]

POD_LEVEL = ("cpu", "memory", "hugepages-")


def amounts(given: Mapping[str, Any] | None) -> Amounts:
    """A resource list of the API, read."""
    return {name: parse(str(text)) for name, text in (given or {}).items()}


def of_pod(pod: Raw, sort: str) -> Amounts:
    """The ``requests`` or ``limits`` of a pod.

    Containers run together, init containers one after another; an init container that keeps running (a sidecar) counts
    with those after it. What is said for the pod as a whole stands for cpu, memory and huge pages.
    """
    spec = pod.get("spec") or {}
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _of_container(container, sort))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of_container(container, sort)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(sidecars, own)
            _raise(peak, sidecars)
        else:
            together = dict(sidecars)
            _add(together, own)
            _raise(peak, together)
    _raise(total, peak)
    whole = amounts((spec.get("resources") or {}).get(sort))
    total |= {name: amount for name, amount in whole.items() if name.startswith(POD_LEVEL)}
    return total


def with_overhead(pod: Raw, total: Amounts) -> Amounts:
    """The same, with what the runtime needs for the pod."""
    found = dict(total)
    _add(found, amounts((pod.get("spec") or {}).get("overhead")))
    return found


def _of_container(container: Any, sort: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(sort))


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise(total: Amounts, floor: Amounts) -> None:
    for name, amount in floor.items():
        if name not in total or total[name] < amount:
            total[name] = amount
