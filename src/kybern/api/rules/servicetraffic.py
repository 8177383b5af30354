"""What may be said of a service's traffic: which of it is let in, where it goes, and who asks a node how it is.

By upstream's validateService and what it calls (pkg/apis/core/validation), whose path of the source ranges has a capital.
"""

from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, forbidden, invalid, not_supported, one_of, required
from kybern.api.rules.formats import network, qualified_name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

MODE = "service.kubernetes.io/topology-mode"
OLD_MODE = "service.kubernetes.io/topology-aware-hints"  # deprecated, and looked at where MODE is not set
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_POLICIES = ("Cluster", "Local")
_FOR_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
_LONGEST_AFFINITY = 86400


def is_reached_from_outside(spec: Raw) -> bool:
    """Whether an external traffic policy makes sense."""
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def has_health_port(spec: Raw) -> bool:
    """Whether a load balancer asks nodes for their health on a port of its own."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def affinity(spec: Raw) -> Iterator[Cause]:
    kind, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    if not kind:
        yield required("spec.sessionAffinity")
    elif kind not in ("ClientIP", "None"):
        yield not_supported("spec.sessionAffinity", kind, ("ClientIP", "None"))
    if kind == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        if seconds is None:
            yield required(at, "when session affinity type is ClientIP")
        elif not 0 < seconds <= _LONGEST_AFFINITY:
            yield invalid(at, seconds, f"must be greater than 0 and less than {_LONGEST_AFFINITY}")
    elif kind == "None" and config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")


def balancer(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new["spec"]
    balanced = spec.get("type") == "LoadBalancer"
    yield from _ranges(new, old, balanced=balanced)
    for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if spec.get(key) is not None and not balanced:
            yield forbidden(f"spec.{key}", _FOR_BALANCERS)
    if spec.get("loadBalancerClass") is not None and balanced:
        name = spec["loadBalancerClass"]
        yield from all_invalid("spec.loadBalancerClass", name, qualified_name(name))


def _ranges(new: Raw, old: Raw | None, *, balanced: bool) -> Iterator[Cause]:
    """The source ranges, in their field or, without that, in the annotation that came before it; old ones stay."""
    said = [text.strip() for text in new["spec"].get("loadBalancerSourceRanges") or ()]
    if not said:
        yield from _annotated(_annotation(new), _annotation(old), balanced=balanced)
        return
    at = "spec.LoadBalancerSourceRanges"
    if not balanced:
        yield forbidden(at, _FOR_BALANCERS)
    was = ((old or {}).get("spec") or {}).get("loadBalancerSourceRanges") or ()
    there = {text.strip() for text in was}
    for i, each in enumerate(said):
        if each not in there:
            yield from all_invalid(f"{at}[{i}]", each, network(each))


def _annotated(text: str | None, was: str | None, *, balanced: bool) -> Iterator[Cause]:
    if text is None:
        return
    at = f"metadata.annotations[{RANGES}]"
    if not balanced:
        yield forbidden(at, _FOR_BALANCERS)
    if text.strip() and text != was:
        for each in text.split(","):
            yield from all_invalid(at, each.strip(), network(each.strip()))


def _annotation(raw: Raw | None) -> str | None:
    found = (((raw or {}).get("metadata") or {}).get("annotations") or {}).get(RANGES)
    return None if found is None else str(found)


def policies(spec: Raw) -> Iterator[Cause]:
    outside = spec.get("externalTrafficPolicy")
    if is_reached_from_outside(spec):
        yield from one_of("spec.externalTrafficPolicy", outside, _POLICIES)
    elif outside:
        text = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", outside, text)
    yield from _health_port(spec)
    inside = spec.get("internalTrafficPolicy")
    if inside is not None:
        yield from one_of("spec.internalTrafficPolicy", inside, _POLICIES)
    if spec.get("trafficDistribution") is not None:
        yield from one_of("spec.trafficDistribution", spec["trafficDistribution"], _DISTRIBUTIONS)


def _health_port(spec: Raw) -> Iterator[Cause]:
    """One that is wanted and not said is given later."""
    port, at = spec.get("healthCheckNodePort") or 0, "spec.healthCheckNodePort"
    if not port:
        return
    if not has_health_port(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid(at, port, text)
    elif not 0 < port < 1 << 16:
        yield invalid(at, port, "must be between 1 and 65535, inclusive")


def changed(spec: Raw, old: Raw) -> Iterator[Cause]:
    """Whose balancer it is, and where that asks for health, stays for as long as it has one."""
    if (spec.get("type"), old.get("type")) == ("LoadBalancer", "LoadBalancer"):
        name = spec.get("loadBalancerClass")
        if name != old.get("loadBalancerClass"):
            yield invalid("spec.loadBalancerClass", name, "may not change once set")
    if has_health_port(spec) and has_health_port(old):
        port = spec.get("healthCheckNodePort")
        if port and port != old.get("healthCheckNodePort"):
            yield forbidden("spec.healthCheckNodePort", "field is immutable")
