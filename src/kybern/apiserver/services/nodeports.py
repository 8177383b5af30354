"""Which node ports a Service wants: those that its writer chose, and how many more for which of its ports. Pure.

By upstream's initNodePorts, updateNodePorts and updateHealthCheckNodePort (pkg/registry/core/service/storage). A new
Service has one node port for all of its ports of one number, TCP and UDP of a name server, say; a port that comes later has
one of its own.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from kybern.api.rules.servicetraffic import has_health_port
from kybern.machinery.kind import Raw

HEALTH = "spec.healthCheckNodePort"
_WITH_PORTS = ("NodePort", "LoadBalancer")


@dataclass(slots=True)
class Wanted:
    """``chosen`` are numbers to take and the fields that say them, ``open`` the groups of ports that share a number each."""

    chosen: list[tuple[int, str]] = field(default_factory=list)
    open: list[list[Raw]] = field(default_factory=list)
    health: bool = False
    """Whether one more is wanted, to ask for the node's health."""


def wanted(spec: Raw, old: Raw | None) -> Wanted:
    """``old`` is the spec before an update. Ports that share a number that was chosen for one of them are told it here."""
    found = Wanted()
    if spec.get("type") in _WITH_PORTS:
        if old is None:
            _of_new(spec, found)
        else:
            _of_changed(spec, old, found)
    if has_health_port(spec) and not (old is not None and has_health_port(old)):
        if spec.get("healthCheckNodePort"):
            found.chosen.append((spec["healthCheckNodePort"], HEALTH))
        else:
            found.health = True
    return found


def _served(spec: Raw) -> Iterator[tuple[str, Raw]]:
    """The ports that have or get a node port, each with the field that says it."""
    given = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
    for at, port in enumerate(spec.get("ports") or ()):
        if given or port.get("nodePort"):
            yield f"spec.ports[{at}].nodePort", port


def _of_new(spec: Raw, found: Wanted) -> None:
    by_number: defaultdict[int, list[tuple[str, Raw]]] = defaultdict(list)
    for at, port in _served(spec):
        by_number[port.get("port", 0)].append((at, port))
    for group in by_number.values():
        chosen = dict.fromkeys(port["nodePort"] for _, port in group if port.get("nodePort"))
        if not chosen:
            found.open.append([port for _, port in group])
            continue
        first = next(iter(chosen))
        found.chosen.append((first, group[0][0]))
        for at, port in group:
            if port.setdefault("nodePort", first) != first:
                found.chosen.append((port["nodePort"], at))


def _of_changed(spec: Raw, old: Raw, found: Wanted) -> None:
    held = {port["nodePort"] for port in old.get("ports") or () if port.get("nodePort")}
    for at, port in _served(spec):
        number = port.get("nodePort")
        if not number:
            found.open.append([port])
        elif number not in held:
            held.add(number)
            found.chosen.append((number, at))
