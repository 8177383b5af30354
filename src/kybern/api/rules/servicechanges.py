"""What an update of a Service need not say, and what it gives up by becoming another type.

Upstream's PrepareForUpdate: addresses and node ports that the server gave once stay when a client leaves them out; what a
type does not have goes with the old type, unless the client asked for it in the same write.
"""

from typing import Any

from kybern.machinery.kind import Raw

_WITH_PORTS = ("NodePort", "LoadBalancer")
_OF_BOTH = ("PreferDualStack", "RequireDualStack")


def _addressed(spec: Raw) -> bool:
    return spec.get("type") != "ExternalName"


def _with_ports(spec: Raw) -> bool:
    return spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def _checked(spec: Raw) -> bool:
    """Whether a load balancer asks nodes for their health on a port of its own."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _from_outside(spec: Raw) -> bool:
    return spec.get("type") in _WITH_PORTS or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
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
        _checked(spec)
        and _checked(was)
        and not spec.get("healthCheckNodePort")
        and was.get("healthCheckNodePort")
    ):
        spec["healthCheckNodePort"] = was["healthCheckNodePort"]


def _keep_ports(spec: Raw, was: Raw) -> None:
    given = {_port(port): port.get("nodePort") for port in was.get("ports") or ()}
    used = {(port.get("protocol"), port.get("nodePort")) for port in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        number = given.get(_port(port))
        if not port.get("nodePort") and number and (port.get("protocol"), number) not in used:
            port["nodePort"] = number


def _port(port: Raw) -> tuple[Any, Any]:
    return port.get("protocol"), port.get("port")


def _give_up(spec: Raw, was: Raw) -> None:
    if _addressed(was) and not _addressed(spec):
        _drop_same(spec, was, "clusterIP", "clusterIPs")
        _drop_same(spec, was, "ipFamilyPolicy", "ipFamilies")
        _drop_same(spec, was, "internalTrafficPolicy")
    if _with_ports(was) and not _with_ports(spec) and _node_ports(spec) == _node_ports(was):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if _checked(was) and not _checked(spec):
        _drop_same(spec, was, "healthCheckNodePort")
    if _from_outside(was) and not _from_outside(spec):
        _drop_same(spec, was, "externalTrafficPolicy")
    if was.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_same(spec, was, "allocateLoadBalancerNodePorts")
        _drop_same(spec, was, "loadBalancerClass")


def _step_down(spec: Raw, was: Raw) -> None:
    """Who says SingleStack of a service of two families need not name the second address and family to be rid of them."""
    if was.get("ipFamilyPolicy") in _OF_BOTH and spec.get("ipFamilyPolicy") == "SingleStack":
        for key in ("clusterIPs", "ipFamilies"):
            if len(spec.get(key) or ()) > 1:
                spec[key] = spec[key][:1]


def _drop_same(spec: Raw, was: Raw, *keys: str) -> None:
    if all(spec.get(key) == was.get(key) for key in keys):
        for key in keys:
            spec.pop(key, None)


def _node_ports(spec: Raw) -> list[Any]:
    return [port.get("nodePort") for port in spec.get("ports") or ()]
