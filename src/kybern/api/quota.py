"""What objects count for in a ResourceQuota, and which quotas they count in. Pure; objects are plain JSON values.

Pods count with what they ask for while they run, claims with their size, services with their kind; every object counts
as one under ``count/PLURAL.GROUP``, some under an older name, too. A quota with scopes counts only the pods (or claims)
that are in all of them.
"""

from collections.abc import Mapping
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


def usage(group: str, plural: str, found: Raw) -> Amounts:
    """What an object counts for."""
    counted: Amounts = {f"count/{plural}.{group}" if group else f"count/{plural}": ONE}
    if group:
        return counted
    if plural in NAMED:
        counted[plural] = ONE
    more = _OF_KIND.get(plural)
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


_OF_KIND: Mapping[str, Any] = {"pods": _pod, "services": _service, "persistentvolumeclaims": _claim}


def in_scopes(spec: Raw, group: str, plural: str, found: Raw) -> bool:
    """Whether a quota of this spec is about an object at all."""
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not scopes:
        return True
    return (group, plural) == ("", "pods") and all(_in_scope(one, found) for one in scopes)


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
