"""API defaults of pods and of the pod templates in other kinds.

A pod gets more than a template: service links, requests from limits, and host ports on the host's network. What a
template leaves open is decided when a pod is made from it.
"""

from typing import Any

from kybern.api.rules.containers import default_container, request_what_is_limited
from kybern.api.rules.podstatus import pair_own
from kybern.api.rules.volumes import default_volume
from kybern.machinery import quantity
from kybern.machinery.kind import Raw

_OF_PODS = ("cpu", "memory")


def default_spec(spec: Raw) -> None:
    """What pods and templates have in common."""
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            default_container(container)
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    _account(spec)


def _account(spec: Raw) -> None:
    """The account has an older name that clients still read: both always say the same."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def default_template(holder: Raw, key: str = "template") -> None:
    """The pod template of a workload; one that is missing altogether is left for validation to find."""
    template = holder.setdefault(key, {})
    template.setdefault("metadata", {})
    default_spec(template.setdefault("spec", {}))


def default_pod(raw: Raw) -> None:
    if raw.get("status"):
        pair_own(raw["status"])
    spec = raw.setdefault("spec", {})
    default_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            request_what_is_limited(container["resources"])
            if spec.get("hostNetwork"):
                _host_ports(container)
    if (spec.get("resources") or {}).get("limits"):
        _pod_requests(spec)
    raw.setdefault("status", {})


def _host_ports(container: Raw) -> None:
    for port in container.get("ports") or ():
        if not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]


def _pod_requests(spec: Raw) -> None:
    """Requests of the pod as a whole: the sum of its containers' where they ask, else its own limit."""
    resources = spec["resources"]
    requests: dict[str, Any] = dict(resources.get("requests") or {})
    for key, limit in resources["limits"].items():
        if key not in requests and (key in _OF_PODS or key.startswith("hugepages-")):
            requests[key] = _sum(spec, key) or limit
    resources["requests"] = requests


def _sum(spec: Raw, key: str) -> str:
    asked = [
        container["resources"]["requests"][key]
        for container in spec.get("containers") or ()
        if key in (container["resources"].get("requests") or {})
    ]
    if not asked:
        return ""
    total = quantity.parse(asked[0])
    for text in asked[1:]:
        total = total + quantity.parse(text)
    return str(total)
