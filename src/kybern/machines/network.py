"""The host's networks: which addresses something else uses already."""

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from kybern.machines.errors import MachineError
from kybern.machines.images import run


def conflict(cidr: IPv4Network, routes: Iterable[Mapping[str, Any]], bridge: str) -> Mapping[str, Any] | None:
    """The route of the host that leads into ``cidr`` by another device than ``bridge``."""
    for route in routes:
        destination = route.get("dst", "default")
        if destination == "default" or route.get("dev") == bridge or route.get("type") == "broadcast":
            continue
        if IPv4Network(destination, strict=False).overlaps(cidr):
            return route
    return None


def refuse_conflict(cidr: IPv4Network, bridge: str) -> None:
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], 20) or "[]")
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


def of_xml(definition: str) -> IPv4Network | None:
    """The addresses of a libvirt network."""
    ip = ET.fromstring(definition).find("ip")  # noqa: S314  # libvirt's own output
    if ip is None:
        return None
    prefix = ip.get("prefix") or ip.get("netmask")
    return IPv4Network(f"{ip.get('address')}/{prefix}", strict=False)
