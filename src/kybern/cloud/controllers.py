"""Which controllers a cloud makes possible: each needs a part of it."""

from collections.abc import Mapping
from typing import Any

from kybern.cloud import node, node_lifecycle, node_route, service_lb
from kybern.cloud.provider import Provider
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import Controller

NAMES = (
    "cloud-node-controller",
    "cloud-node-lifecycle-controller",
    "node-route-controller",
    "service-lb-controller",
)
OLD_NAMES: Mapping[str, str] = {
    "cloud-node": "cloud-node-controller",
    "cloud-node-lifecycle": "cloud-node-lifecycle-controller",
    "route": "node-route-controller",
    "service": "service-lb-controller",
}
"""Upstream still takes the names that they had before v1.28."""


def possible(cloud: Provider, told: CloudSettings) -> tuple[Controller[Any], ...]:
    found: list[Controller[Any]] = []
    if cloud.instances is not None:
        found.append(node.controller(cloud.instances, cloud.zones, told))
        found.append(node_lifecycle.controller(cloud.instances, told))
    if cloud.routes is not None:
        found.append(node_route.controller(cloud.routes, told))
    if cloud.load_balancers is not None:
        found.append(service_lb.controller(cloud.load_balancers, told))
    return tuple(found)
