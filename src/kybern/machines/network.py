"""The host's networks: which addresses something else uses already."""

import json
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from kybern.machines.errors import MachineError
from kybern.machines.images import run
from kybern.machines.topology import Network

# What is sent to many leads to nobody's address.
GROUPS = ("broadcast", "multicast", "anycast")


def conflict(cidr: Network, routes: Iterable[Mapping[str, Any]], bridge: str) -> Mapping[str, Any] | None:
    """The route of the host that leads into ``cidr`` by another device than ``bridge``."""
    for route in routes:
        destination = route.get("dst", "default")
        if destination == "default" or route.get("dev") == bridge or route.get("type") in GROUPS:
            continue
        if ip_network(destination, strict=False).overlaps(cidr):
            return route
    return None


def refuse_conflict(cidr: Network, bridge: str) -> None:
    routes = json.loads(run(["ip", "-json", f"-{cidr.version}", "route", "show", "table", "all"], 20) or "[]")
    if found := conflict(cidr, routes, bridge):
        raise MachineError(
            f"network {cidr} is in use on this host ({found['dst']} on {found.get('dev', 'no device')}); "
            "choose another 'network' in the topology"
        )


def remove_stale(bridge: str) -> None:
    """A bridge of ours that libvirt knows no more, as after its death by power loss: it stands in the way of a new one."""
    path = Path("/sys/class/net") / bridge
    if path.exists() and not any((path / "brif").iterdir()):
        run(["ip", "link", "delete", bridge], 20)


def of_xml(definition: str) -> Network | None:
    """The addresses of a libvirt network."""
    ip = ET.fromstring(definition).find("ip")  # noqa: S314  # libvirt's own output
    if ip is None:
        return None
    prefix = ip.get("prefix") or ip.get("netmask")
    return ip_network(f"{ip.get('address')}/{prefix}", strict=False)
