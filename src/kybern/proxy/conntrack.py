"""Flows of UDP services that the kernel still sends to endpoints that no longer serve.

TCP ends with its endpoint; a UDP flow lives in the kernel's table for as long as its client sends, and would go on to an
address where nobody, or another pod, listens. So after a change such flows are taken out, and the next packet is given to
an endpoint that serves. A service without any serving endpoint keeps its flows, as upstream has it
(pkg/proxy/conntrack/cleanup.go).
"""

import asyncio
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2.conntrack import Conntrack as Table
from pyroute2.conntrack import NFCTAttrTuple
from pyroute2.netlink.exceptions import NetlinkError

from kybern.proxy import metrics
from kybern.proxy.families import IPV4, IPV6, version_of
from kybern.proxy.model import ServicePort

LOG = logging.getLogger(__name__)
_GONE = 2  # ENOENT: the flow ended by itself meanwhile


@dataclass(frozen=True, slots=True)
class Flow:
    """Whom a client called, and which endpoint answers."""

    address: str
    port: int
    answers: str


def stale(flows: Iterable[Flow], ports: Iterable[ServicePort]) -> list[Flow]:
    """Those to a UDP service whose endpoint no longer serves. Pure."""
    serving: dict[tuple[str, int], set[str]] = {}
    for port in ports:
        answering = {one.ip for one in port.endpoints if one.serving}
        if port.protocol != "UDP" or not answering:
            continue
        for address in (port.cluster_ip, *port.external_ips, *port.balancer_ips):
            serving[address, port.port] = answering
        if port.node_port:
            serving["", port.node_port] = answering
    return [
        flow
        for flow in flows
        if any(
            place in serving and flow.answers not in serving[place]
            for place in ((flow.address, flow.port), ("", flow.port))
        )
    ]


class Conntrack:
    """The kernel's table of flows, through netlink; in a thread, since it may be long."""

    async def forget_stale(self, ports: Iterable[ServicePort]) -> None:
        """Take out the stale flows. What fails is logged: packets then go wrong until the flow ends, as before."""
        udp = [port for port in ports if port.protocol == "UDP"]
        for family, domain in ((IPV4, socket.AF_INET), (IPV6, socket.AF_INET6)):
            # Each by itself: a service has one node port in both, and other endpoints in each.
            of_it = [port for port in udp if version_of(port.cluster_ip) == family.version]
            if not of_it:
                continue
            try:
                with metrics.flows_time(family.title):
                    count = await asyncio.to_thread(_forget_stale, of_it, domain)
            except (NetlinkError, OSError) as problem:
                LOG.warning("cannot look at the kernel's table of flows of %s: %s", family.title, problem)
                continue
            if count:
                LOG.info("took out %d UDP flows to endpoints that no longer serve", count)
                metrics.DELETED_FLOWS.labels(family.title).inc(count)


def _forget_stale(ports: list[ServicePort], domain: socket.AddressFamily) -> int:
    with Table(nfgen_family=domain) as table:
        found: dict[Flow, list[Any]] = {}
        wanted = NFCTAttrTuple(family=domain, proto=socket.IPPROTO_UDP)
        for entry in table.dump_entries(tuple_orig=wanted):
            flow = Flow(entry.tuple_orig.daddr, entry.tuple_orig.dport, entry.tuple_reply.saddr)
            found.setdefault(flow, []).append(entry)
        count = 0
        for flow in stale(found, ports):
            for entry in found[flow]:
                try:
                    table.delete(entry)
                    count += 1
                except NetlinkError as problem:
                    if problem.code != _GONE:
                        raise
        return count
