"""For whom an endpoint is meant, as a service's trafficDistribution asks for it; pure.

The rules are upstream's (staging/src/k8s.io/endpointslice/trafficdist): only ready endpoints have hints, and what is not
known of an endpoint's place gives none.
"""

from kybern.api.discovery_v1 import EndpointHints, ForNode, ForZone

_SAME_NODE = "PreferSameNode"
_CLOSE = frozenset({"PreferClose", "PreferSameZone", _SAME_NODE})


def hints_of(distribution: str, *, ready: bool, zone: str, node: str) -> EndpointHints | None:
    """``zone`` and ``node`` are those of the endpoint, empty where unknown. None when nothing is to be preferred."""
    if not ready or distribution not in _CLOSE:
        return None
    zones = (ForZone(name=zone),) if zone else ()
    nodes = (ForNode(name=node),) if node and distribution == _SAME_NODE else ()
    return EndpointHints(for_nodes=nodes, for_zones=zones) if zones or nodes else None
