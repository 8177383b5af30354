"""What an update of a Service need not say, and what it gives up by becoming another type.

Upstream's patchAllocatedValues and dropTypeDependentFields (pkg/registry/core/service): addresses and node ports that the
server gave once stay when a client leaves them out; what a type does not have goes with the old type, unless the client
asked for it in the same write.
"""

from typing import Any

from kybern.api.rules.servicetraffic import has_health_port, is_reached_from_outside
from kybern.machinery.kind import Raw

_WITH_PORTS = ("NodePort", "LoadBalancer")
_OF_BOTH = ("PreferDualStack", "RequireDualStack")


def _addressed(spec: Raw) -> bool:
    return spec.get("type") != "ExternalName"


def _with_ports(spec: Raw) -> bool:
    return spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def on_create(raw: Raw) -> None:
    spec = raw["spec"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def on_update(new: Raw, old: Raw) -> None:
    spec, was = new["spec"], old["spec"]
    _follow_first(spec, was)
    _keep_given(spec, was)
    _give_up(spec, was)
    _step_down(spec, was)
    if spec.get("type") != "LoadBalancer" and new.get("status"):
        # What takes the balancer down does so later, which nobody need see.
        new["status"]["loadBalancer"] = {}


def _follow_first(spec: Raw, was: Raw) -> None:
    """ClusterIP and clusterIPs say the same; a client that knows only the first changes or clears both."""
    first, all_of = spec.get("clusterIP"), spec.get("clusterIPs")
    if first and not all_of and first != was.get("clusterIP"):
        spec["clusterIPs"] = [first]
    elif first != was.get("clusterIP") and all_of and all_of == was.get("clusterIPs"):
        if first:
            spec["clusterIPs"] = [first]
        else:
            del spec["clusterIPs"]


def _keep_given(spec: Raw, was: Raw) -> None:
    if _addressed(spec) and _addressed(was):
        for key in ("clusterIP", "ipFamilyPolicy", "ipFamilies"):
            if not spec.get(key) and was.get(key):
                spec[key] = was[key]
        if (
            not spec.get("clusterIPs")
            and spec.get("clusterIP") == was.get("clusterIP")
            and was.get("clusterIPs")
        ):
            spec["clusterIPs"] = list(was["clusterIPs"])
    if _with_ports(spec) and _with_ports(was):
        _keep_ports(spec, was)
    if (
        has_health_port(spec)
        and has_health_port(was)
        and not spec.get("healthCheckNodePort")
        and was.get("healthCheckNodePort")
    ):
        spec["healthCheckNodePort"] = was["healthCheckNodePort"]


def _keep_ports(spec: Raw, was: Raw) -> None:
    """By the names of ports, whatever else of them has changed; a node port that another has now is not kept."""
    given = {port.get("name") or "": port.get("nodePort") for port in was.get("ports") or ()}
    used = _node_ports(was) & _node_ports(spec)
    for port in spec.get("ports") or ():
        number = given.get(port.get("name") or "")
        if not port.get("nodePort") and number and number not in used:
            port["nodePort"] = number


def _give_up(spec: Raw, was: Raw) -> None:
    if _addressed(was) and not _addressed(spec):
        _drop_same(spec, was, "clusterIP", "clusterIPs")
        _drop_same(spec, was, "ipFamilyPolicy")
        _drop_same(spec, was, "ipFamilies")
        _drop_same(spec, was, "internalTrafficPolicy")
    left = was.get("type") in _WITH_PORTS and spec.get("type") not in _WITH_PORTS
    if left and _node_ports(spec) <= _node_ports(was):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if has_health_port(was) and not has_health_port(spec):
        _drop_same(spec, was, "healthCheckNodePort")
    if is_reached_from_outside(was) and not is_reached_from_outside(spec):
        _drop_same(spec, was, "externalTrafficPolicy")
    if was.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_same(spec, was, "allocateLoadBalancerNodePorts")
        _drop_same(spec, was, "loadBalancerClass")


def _step_down(spec: Raw, was: Raw) -> None:
    """Who says SingleStack of a service of two families need not name the second address and family to be rid of them."""
    if was.get("ipFamilyPolicy") in _OF_BOTH and spec.get("ipFamilyPolicy") == "SingleStack":
        for key in ("clusterIPs", "ipFamilies"):
            if len(spec.get(key) or ()) > 1 and spec[key] == was.get(key):
                spec[key] = spec[key][:1]


def _drop_same(spec: Raw, was: Raw, *keys: str) -> None:
    if all(spec.get(key) == was.get(key) for key in keys):
        for key in keys:
            spec.pop(key, None)


def _node_ports(spec: Raw) -> set[Any]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
