"""Routes and the VXLAN device through netlink: the only place of the pod network that touches the kernel.

Our routes bear a protocol number of our own, so that nothing else is ever removed. Calls take well under a millisecond, and
are made in a thread so that a slow kernel does not stop the daemon.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kybern.cni.plan import (
    DEVICE,
    Action,
    Address,
    Link,
    Network,
    RemoveRoute,
    Route,
    ServiceRoute,
    SetRoute,
    hardware_address,
)

LOG = logging.getLogger(__name__)
PROTOCOL = 75  # of our routes to nodes (rtnetlink leaves 64 and up to daemons)
SERVICES = 76  # of those to Services
VXLAN_ID = 4097
VXLAN_PORT = 4789
VXLAN_OVERHEAD = 50  # bytes: outer Ethernet, IPv4, UDP and VXLAN headers
ONLINK = 4  # RTNH_F_ONLINK
LINK = 253  # RT_SCOPE_LINK
FAMILIES = (2, 10)  # AF_INET, AF_INET6


class NoLink(OSError):
    """This node's address is on none of its links."""


class Kernel:
    """A netlink socket, as a context manager."""

    def __init__(self) -> None:
        self._ip: Any = IPRoute()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self._ip.close()

    def link(self, address: Address) -> tuple[Link, int, int]:
        """The interface address, index and MTU of the link that bears ``address``. Raises NoLink."""
        for found in self._ip.get_addr(family=_family(address)):
            text = found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
            if ip_address(text) == address:
                (link,) = self._ip.get_links(found["index"])
                return (
                    ip_interface(f"{text}/{found['prefixlen']}"),
                    found["index"],
                    link.get_attr("IFLA_MTU"),
                )
        raise NoLink(f"cannot find {address} on any link of this node: correct --node-ip")

    def fixed_bridge(self, name: str, mtu: int) -> str:
        """The bridge's hardware address, which stays from now on; the bridge is made when it is not there."""
        index = self._index(name)
        if index is None:
            self._ip.link("add", ifname=name, kind="bridge", mtu=mtu)
            index = self._index(name)
            assert index is not None, "it was just made"
            LOG.info("made the bridge %s", name)
        (link,) = self._ip.get_links(index)
        hardware: str = link.get_attr("IFLA_ADDRESS")
        # One that was set does not follow the links that join the bridge.
        self._ip.link("set", index=index, address=hardware, state="up")
        return hardware

    def routes(self) -> frozenset[Route]:
        """Our routes as the kernel has them, of both families."""
        tunnels = self._tunnels()
        return frozenset(route for family in FAMILIES for route in self._routes(family, tunnels))

    def _routes(self, family: int, tunnels: dict[Address, IPv4Address]) -> Iterator[Route]:
        for route in self._ip.get_routes(family=family, proto=PROTOCOL):
            network = ip_network((route.get_attr("RTA_DST"), route["dst_len"]))
            gateway = ip_address(route.get_attr("RTA_GATEWAY"))
            yield Route(network, gateway, tunnels.get(gateway))

    def service_routes(self) -> frozenset[ServiceRoute]:
        """Our routes to Services as the kernel has them, of both families."""
        return frozenset(
            ServiceRoute(
                ip_network((route.get_attr("RTA_DST"), route["dst_len"])),
                route.get_attr("RTA_OIF"),
                ip_address(source) if (source := route.get_attr("RTA_PREFSRC")) else None,
            )
            for family in FAMILIES
            for route in self._ip.get_routes(family=family, proto=SERVICES)
        )

    def add_service_route(self, route: ServiceRoute) -> None:
        """Where somebody else has a way to this very network, that one is as good, and is left."""
        source = {"prefsrc": str(route.source)} if route.source else {}
        try:
            self._ip.route("add", **_terms(route), **source)
        except NetlinkError as problem:
            if problem.code != errno.EEXIST:
                raise

    def remove_service_route(self, route: ServiceRoute) -> None:
        self._ignoring_absent("del", **_terms(route))

    def _tunnels(self) -> dict[Address, IPv4Address]:
        """The nodes behind the VXLAN device by the gateway that stands for them."""
        index = self._index(DEVICE)
        if index is None:
            return {}
        nodes = {
            entry.get_attr("NDA_LLADDR"): IPv4Address(entry.get_attr("NDA_DST"))
            for entry in self._ip.fdb("dump", ifindex=index)
            if entry["ifindex"] == index and entry.get_attr("NDA_DST")
        }
        return {
            ip_address(entry.get_attr("NDA_DST")): nodes[entry.get_attr("NDA_LLADDR")]
            for family in FAMILIES
            for entry in self._ip.get_neighbours(family=family, ifindex=index)
            if entry["ifindex"] == index and entry.get_attr("NDA_LLADDR") in nodes
        }

    def fit_tunnel(self, me: IPv4Address) -> None:
        """Let the VXLAN device, if there is one, take no more than the link of ``me`` does: that may have become less."""
        index = self._index(DEVICE)
        if index is None:
            return
        _, _, mtu = self.link(me)
        (device,) = self._ip.get_links(index)
        if device.get_attr("IFLA_MTU") != mtu - VXLAN_OVERHEAD:
            self._ip.link("set", index=index, mtu=mtu - VXLAN_OVERHEAD)
            LOG.info("packets to nodes on other networks may have %d bytes now", mtu - VXLAN_OVERHEAD)

    def _index(self, name: str) -> int | None:
        found = self._ip.link_lookup(ifname=name)
        return int(found[0]) if found else None

    def apply(self, action: Action, me: Address, pods: Iterable[Network]) -> None:
        """One change. ``me`` is this node's address, ``pods`` its pod networks: the VXLAN device bears all of them."""
        route = action.route
        match action:
            case RemoveRoute():
                self._ignoring_absent("del", dst=str(route.network), proto=PROTOCOL)
                self._forget(route.network.network_address)
            case SetRoute() if route.tunnel is None:
                self._ip.route("replace", dst=str(route.network), gateway=str(route.gateway), proto=PROTOCOL)
                self._forget(route.network.network_address)
            case SetRoute():
                assert route.tunnel is not None, "the case above"
                assert isinstance(me, IPv4Address), (
                    "a tunnel is wanted only where this node has such an address"
                )
                self._tunnel(route, route.tunnel, self._device(me, pods))

    def _forget(self, gateway: Address) -> None:
        """What the VXLAN device knows of a node by a gateway that no route goes through any more, if it does.

        A node has one entry for all its gateways, which stays for as long as there is one of them.
        """
        index = self._index(DEVICE)
        if index is None:
            return
        known = {
            ip_address(entry.get_attr("NDA_DST")): entry.get_attr("NDA_LLADDR")
            for family in FAMILIES
            for entry in self._ip.get_neighbours(family=family, ifindex=index)
            if entry["ifindex"] == index
        }
        lladdr = known.pop(gateway, None)
        if lladdr is None:
            return
        self._ip.neigh("del", dst=str(gateway), ifindex=index)
        if lladdr in known.values():
            return
        for entry in self._ip.fdb("dump", ifindex=index):
            if entry["ifindex"] == index and entry.get_attr("NDA_LLADDR") == lladdr:
                node = entry.get_attr("NDA_DST")
                self._ip.fdb("del", ifindex=index, lladdr=lladdr, dst=node, flags=2)  # self

    def _ignoring_absent(self, command: str, **route: Any) -> None:
        try:
            self._ip.route(command, **route)
        except NetlinkError as problem:
            if problem.code != errno.ESRCH:
                raise

    def _tunnel(self, route: Route, node: IPv4Address, index: int) -> None:
        lladdr = hardware_address(node)
        self._ip.fdb(
            "replace", ifindex=index, lladdr=lladdr, dst=str(node), state=128, flags=2
        )  # permanent, self
        self._ip.neigh("replace", dst=str(route.gateway), lladdr=lladdr, ifindex=index, state=128)
        self._ip.route(
            "replace",
            dst=str(route.network),
            gateway=str(route.gateway),
            oif=index,
            flags=ONLINK,
            proto=PROTOCOL,
        )

    def _device(self, me: IPv4Address, pods: Iterable[Network]) -> int:
        """The VXLAN device's index; it is made at first use."""
        index = self._index(DEVICE)
        if index is None:
            _, parent, mtu = self.link(me)
            self._ip.link(
                "add", ifname=DEVICE, kind="vxlan", vxlan_id=VXLAN_ID, vxlan_port=VXLAN_PORT, vxlan_link=parent,
                vxlan_local=str(me), vxlan_learning=0, address=hardware_address(me), mtu=mtu - VXLAN_OVERHEAD,
            )  # fmt: skip
            index = self._index(DEVICE)
            assert index is not None, "it was just made"
            LOG.info("made %s for nodes on other networks", DEVICE)
        for network in pods:
            first = network.network_address
            self._ip.addr("replace", index=index, address=str(first), prefixlen=first.max_prefixlen)
        self._ip.link("set", index=index, state="up")
        return index


def _terms(route: ServiceRoute) -> dict[str, Any]:
    scope = LINK if route.network.version == 4 else 0
    return {"dst": str(route.network), "oif": route.link, "proto": SERVICES, "scope": scope}


def _family(address: Address) -> int:
    return FAMILIES[address.version == 6]
