"""Keep the pod network of this node as the Nodes ask: observe, diff, act.

Writes ``10-kybern.conflist`` once this node has a pod network (until then the kubelet reports the node as not ready), and
keeps one route for each other node and each network of Services; where the kernel does not show the rules what passes
within the bridge, the bridge hands it up (``frames``). Looks at the kernel before every change and once a minute, so that
what others remove comes back. When the API server cannot be reached, all stays as it is.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from kybern.api.core_v1 import Node
from kybern.client.rest import Client
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.cni import metrics
from kybern.cni.conflist import render
from kybern.cni.frames import Frames
from kybern.cni.netlink import VXLAN_OVERHEAD, Kernel, NoLink
from kybern.cni.plan import (
    Action,
    Address,
    Link,
    Network,
    ServiceRoute,
    diff,
    internal_addresses,
    outer,
    pod_networks,
    wanted,
    wanted_services,
)
from kybern.daemon.files import replace_file

LOG = logging.getLogger(__name__)
PERIOD = 60.0
RETRY = 5.0
NAME = "10-kybern.conflist"
MODE = 0o600


@dataclass(slots=True)
class State:
    nodes: dict[str, Node] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


async def follow(client: Client, state: State) -> None:
    """Keep the nodes as the API server has them; wakes only when an address or a pod network changed."""
    async for event in watch(client, Node):
        match event:
            case Synced(items):
                state.nodes = {node.metadata.name: node for node in items}
            case Added(node):
                state.nodes[node.metadata.name] = node
            case Modified(node, old):
                state.nodes[node.metadata.name] = node
                if _facts(node) == _facts(old):
                    continue
            case Deleted(node):
                state.nodes.pop(node.metadata.name, None)
        state.changed.set()


def _facts(node: Node) -> tuple[object, ...]:
    """What routes depend on; the order of the pods' networks is that of their addresses."""
    return internal_addresses(node), tuple(pod_networks(node).values())


@dataclass(slots=True)
class Syncer:
    """The one loop. ``mtu`` of 0 means: as the link's, less what VXLAN takes when a node is behind a router.

    ``services`` are the networks of Services that the node itself shall find a way to. ``problem`` is why the routes are not
    as they should be now, "" for none.
    """

    state: State
    me: str
    directory: Path
    on_first: Callable[[], None]
    mtu: int = 0
    services: tuple[Network, ...] = ()
    done: bool = False
    problem: str = ""
    _frames: Frames = field(default_factory=Frames)

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PERIOD if self.done else RETRY):
                    await self.state.changed.wait()
            except TimeoutError:
                LOG.debug("looking again")
            self.state.changed.clear()
            try:
                with metrics.SYNC.time():
                    found = await asyncio.to_thread(self._sync)
                    if found:
                        await self._frames.apply(*found)
                self.problem = ""
                if found:
                    metrics.LAST.set_to_current_time()
            except (NoLink, NetlinkError) as problem:
                metrics.FAILURES.inc()
                self.problem = str(problem)
                LOG.error("cannot set the routes to other nodes: %s", problem)  # noqa: TRY400  # the message says it all

    def _sync(self) -> tuple[tuple[Network, ...], int] | None:
        """Routes and the conflist. Gives the pods' networks here and the MTU of their links, None while there are none."""
        node = self.state.nodes.get(self.me)
        addresses, pods = (internal_addresses(node), pod_networks(node)) if node else ({}, {})
        if not addresses or not pods:
            LOG.info("node %s has no address or no pod network yet", self.me)
            return None
        with Kernel() as kernel:
            links, indexes, mtu = _links(kernel, addresses)
            routes = wanted(self.state.nodes.values(), self.me, links, pods)
            me = outer(addresses) or next(iter(addresses.values()))
            refused = apply_all(kernel, diff(routes, kernel.routes()), me, pods.values())
            if isinstance(me, IPv4Address):
                kernel.fit_tunnel(me)
            _lead_to_services(kernel, wanted_services(self.services, addresses, indexes))
        tunnelled = sum(route.tunnel is not None for route in routes)
        metrics.ROUTES.labels("tunnel").set(tunnelled)
        metrics.ROUTES.labels("link").set(len(routes) - tunnelled)
        within = self.mtu or mtu - (VXLAN_OVERHEAD if tunnelled else 0)
        self._write(render(pods.values(), within))
        if not self.done:
            self.done = True
            self.on_first()
        if refused:
            raise refused[0]
        return tuple(pods.values()), within

    def _write(self, content: bytes) -> None:
        """Replace the conflist atomically, only when it differs. It is for root alone, as CIS has it (1.1.9)."""
        path = self.directory / NAME
        if path.exists() and path.read_bytes() == content:
            path.chmod(MODE)
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        replace_file(path, content, MODE, durable=True)
        LOG.info("wrote %s", path)


def apply_all(
    kernel: Kernel, actions: Iterable[Action], me: Address, pods: Collection[Network]
) -> list[NetlinkError]:
    """What the kernel refused: one node that tells a wrong address must not take the way to the others."""
    refused = []
    for action in actions:
        LOG.info("%s", action)
        try:
            kernel.apply(action, me, pods)
        except NetlinkError as problem:
            LOG.warning("cannot apply %s: %s", action, problem)
            refused.append(problem)
        else:
            metrics.CHANGES.inc()
    return refused


def _lead_to_services(kernel: Kernel, routes: frozenset[ServiceRoute]) -> None:
    actual = kernel.service_routes()
    for route in actual - routes:
        LOG.info("removing %s", route)
        kernel.remove_service_route(route)
    for route in routes - actual:
        LOG.debug("adding %s, unless somebody else has one", route)
        kernel.add_service_route(route)


def _links(kernel: Kernel, addresses: Mapping[int, Address]) -> tuple[tuple[Link, ...], dict[int, int], int]:
    """This node's own addresses with their prefixes, their links' indexes by version, and the least MTU. Raises NoLink."""
    found = {version: kernel.link(address) for version, address in addresses.items()}
    indexes = {version: index for version, (_, index, _) in found.items()}
    return tuple(link for link, _, _ in found.values()), indexes, min(mtu for _, _, mtu in found.values())
