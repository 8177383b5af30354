"""What objects count for in a ResourceQuota, and which quotas they count in. Pure; objects are plain JSON values.

Pods count with what they ask for while they run, claims with their size, services with their kind; every object counts
as one under ``count/PLURAL.GROUP``, some under an older name, too. Claims for devices count these by class. A quota with
scopes counts only the pods, or the claims for volumes, that are in all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kybern.api.asked import Amounts, amounts, of_pod, with_overhead
from kybern.api.rules import qos
from kybern.machinery.kind import Raw
from kybern.machinery.quantity import parse

ONE = parse("1")
NAMED = frozenset(
    {
        "configmaps",
        "secrets",
        "resourcequotas",
        "replicationcontrollers",
        "services",
        "persistentvolumeclaims",
    }
)
COMPUTE = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
"""Resources that every container must state where a quota bounds them."""
PLAIN = ("cpu", "memory", "ephemeral-storage")
CLASS = ".storageclass.storage.k8s.io/"
DEVICES = ".deviceclass.resource.k8s.io/devices"
MOST_DEVICES = 32
"""What a claim for all devices may get at the most (upstream: AllocationResultsMaxSize)."""


def usage(group: str, plural: str, found: Raw) -> Amounts:
    """What an object counts for."""
    counted: Amounts = {f"count/{plural}.{group}" if group else f"count/{plural}": ONE}
    if not group and plural in NAMED:
        counted[plural] = ONE
    more = _OF_KIND.get((group, plural))
    return counted | more(found) if more is not None else counted


def _pod(pod: Raw) -> Amounts:
    if _is_over(pod):
        return {}
    counted: Amounts = {"pods": ONE}
    for name, amount in with_overhead(pod, of_pod(pod, "requests")).items():
        if name in PLAIN or name.startswith("hugepages-"):
            counted[name] = amount
        counted[f"requests.{name}"] = amount
    limits = with_overhead(pod, of_pod(pod, "limits"))
    counted |= {f"limits.{name}": limits[name] for name in PLAIN if name in limits}
    return counted


def _is_over(pod: Raw) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _service(service: Raw) -> Amounts:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), len(spec.get("ports") or ())
    counted: Amounts = {}
    if kind == "LoadBalancer":
        counted["services.loadbalancers"] = ONE
    if kind == "NodePort" or (
        kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    ):
        counted["services.nodeports"] = parse(str(ports))
    return counted


def _claim(claim: Raw) -> Amounts:
    spec = claim.get("spec") or {}
    of = spec.get("storageClassName") or ""
    prefix = f"{of}{CLASS}" if of else ""
    counted: Amounts = {f"{prefix}persistentvolumeclaims": ONE} if of else {}
    size = amounts((spec.get("resources") or {}).get("requests")).get("storage")
    if size is not None:
        held = amounts((claim.get("status") or {}).get("allocatedResources")).get("storage", size)
        counted["requests.storage"] = max(size, held)
        if of:
            counted[f"{prefix}requests.storage"] = counted["requests.storage"]
    return counted


def _device_claim(claim: Raw) -> Amounts:
    """Devices by class: of requests that may be met in several ways, the most that one way takes of each class."""
    counted: Amounts = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        most: Amounts = {}
        for way in (*(request.get("firstAvailable") or ()), request.get("exactly") or {}):
            if number := parse(str(_devices(way))):
                name = f"{way['deviceClassName']}{DEVICES}"
                most[name] = max(number, most.get(name, number))
        for name, number in most.items():
            counted[name] = counted[name] + number if name in counted else number
    return counted


def _devices(way: Raw) -> int:
    """What one way of meeting a request takes; a mode that is not known counts nothing, as upstream."""
    modes = {"ExactCount": way.get("count") or 0, "All": MOST_DEVICES}
    return int(modes.get(way.get("allocationMode", ""), 0))


_OF_KIND: Mapping[tuple[str, str], Any] = {
    ("", "pods"): _pod,
    ("", "services"): _service,
    ("", "persistentvolumeclaims"): _claim,
    ("resource.k8s.io", "resourceclaims"): _device_claim,
}


def in_scopes(spec: Raw, group: str, plural: str, found: Raw) -> bool:
    """Whether a quota of this spec is about an object at all."""
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not scopes:
        return True
    within = _SCOPED.get((group, plural))
    return within is not None and all(within(one, found) for one in scopes)


def _claim_in_scope(scope: Any, claim: Raw) -> bool:
    """By the volume attributes classes that a claim wants, has, or is on the way to."""
    if scope["scopeName"] != "VolumeAttributesClass":
        return False
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    told = (
        spec.get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return any(_has_class(scope, one) for one in {name for name in told if name} or {""})


def _in_scope(scope: Any, pod: Raw) -> bool:
    spec = pod.get("spec") or {}
    name: str = scope["scopeName"]
    if name in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) == (name == "Terminating")
    if name in ("BestEffort", "NotBestEffort"):
        return (qos.class_of(spec) == "BestEffort") == (name == "BestEffort")
    if name == "PriorityClass":
        return _has_class(scope, spec.get("priorityClassName") or "")
    return name == "CrossNamespacePodAffinity" and _crosses(spec.get("affinity") or {})


_SCOPED: Mapping[tuple[str, str], Callable[[Any, Raw], bool]] = {
    ("", "pods"): _in_scope,
    ("", "persistentvolumeclaims"): _claim_in_scope,
}


def _has_class(scope: Any, given: str) -> bool:
    values = scope.get("values") or ()
    return {
        "Exists": bool(given),
        "DoesNotExist": not given,
        "In": given in values,
        "NotIn": given not in values,
    }.get(scope.get("operator", ""), False)


def _crosses(affinity: Raw) -> bool:
    """Whether pods of other namespaces play a part in where a pod goes."""
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [one.get("podAffinityTerm") or {} for one in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def unstated(pod: Raw, hard: Mapping[str, Any]) -> dict[str, list[str]]:
    """Bounded resources that containers leave open, with the names of these containers."""
    spec = pod.get("spec") or {}
    whole = spec.get("resources") or {}
    missing: dict[str, list[str]] = {}
    for name in (name for name in COMPUTE if name in hard):
        side, _, resource = name.rpartition(".")
        sort = side or "requests"
        if resource in (whole.get(sort) or {}):
            continue
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                if resource not in ((container.get("resources") or {}).get(sort) or {}):
                    missing.setdefault(name, []).append(container["name"])
    return missing
