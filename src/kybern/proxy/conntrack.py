"""Flows of UDP services that the kernel still sends to endpoints that no longer serve.

TCP ends with its endpoint; a UDP flow lives in the kernel's table for as long as its client sends, and would go on to an
address where nobody, or another pod, listens. So after a change such flows are taken out, and the next packet is given to
an endpoint that serves, or refused where there is none. That goes for services that are gone, too
(pkg/proxy/conntrack/cleanup.go).
"""

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pyroute2.conntrack import Conntrack as Table
from pyroute2.conntrack import NFCTAttrTuple
from pyroute2.netlink.exceptions import NetlinkError

from kybern.proxy import metrics
from kybern.proxy.families import IPV4, IPV6, Family, version_of
from kybern.proxy.model import ServicePort

LOG = logging.getLogger(__name__)
type Place = tuple[str, int]
_GONE = 2  # ENOENT: the flow ended by itself meanwhile


class Flow(NamedTuple):
    """Whom a client called, and which endpoint answers: each an address and a port."""

    called: Place
    answers: Place


def stale(
    flows: Iterable[Flow], ports: Iterable[ServicePort], before: Iterable[ServicePort] = ()
) -> list[Flow]:
    """Those to a UDP service whose endpoint does not serve it; ``before`` are ports that were served, and may be still.

    An endpoint that is about to end serves for as long as it says so: traffic policies leave flows alone. Pure.
    """
    serving: dict[Place, set[Place]] = {place: set() for port in before for place in _places(port)}
    for port in ports:
        answering = {(one.ip, one.port) for one in port.endpoints if one.serving}
        for place in _places(port):
            serving.setdefault(place, set()).update(answering)
    return [
        flow
        for flow in flows
        if any(
            place in serving and flow.answers not in serving[place]
            for place in (flow.called, ("", flow.called[1]))
        )
    ]


def _places(port: ServicePort) -> Iterator[Place]:
    """Where a UDP service is called: addresses and ports, "" for any address of the node."""
    if port.protocol != "UDP":
        return
    yield from ((one, port.port) for one in (port.cluster_ip, *port.external_ips, *port.balancer_ips))
    if port.node_port:
        yield "", port.node_port


class Conntrack:
    """The kernel's table of flows, through netlink; in a thread, since it may be long."""

    async def forget_stale(self, ports: Iterable[ServicePort], before: Iterable[ServicePort] = ()) -> bool:
        """Take out the stale flows. False where that failed, which is logged: packets go wrong until it is done."""
        now, gone = tuple(ports), tuple(before)
        done = True
        for family, domain in ((IPV4, socket.AF_INET), (IPV6, socket.AF_INET6)):
            # Each by itself: a service has one node port in both, and other endpoints in each.
            of_it, was = _udp(now, family), _udp(gone, family)
            if not of_it and not was:
                continue
            try:
                with metrics.flows_time(family.title):
                    count = await asyncio.to_thread(_forget_stale, of_it, was, domain)
            except (NetlinkError, OSError) as problem:
                LOG.warning("cannot look at the kernel's table of flows of %s: %s", family.title, problem)
                done = False
                continue
            if count:
                LOG.info("took out %d UDP flows to endpoints that no longer serve", count)
                metrics.DELETED_FLOWS.labels(family.title).inc(count)
        return done


def _udp(ports: Iterable[ServicePort], family: Family) -> list[ServicePort]:
    return [
        port for port in ports if port.protocol == "UDP" and version_of(port.cluster_ip) == family.version
    ]


def _forget_stale(ports: list[ServicePort], before: list[ServicePort], domain: socket.AddressFamily) -> int:
    with Table(nfgen_family=domain) as table:
        found: dict[Flow, list[Any]] = {}
        wanted = NFCTAttrTuple(family=domain, proto=socket.IPPROTO_UDP)
        for entry in table.dump_entries(tuple_orig=wanted):
            called, answer = entry.tuple_orig, entry.tuple_reply
            flow = Flow((called.daddr, called.dport), (answer.saddr, answer.sport))
            found.setdefault(flow, []).append(entry)
        count = 0
        for flow in stale(found, ports, before):
            for entry in found[flow]:
                try:
                    table.delete(entry)
                    count += 1
                except NetlinkError as problem:
                    if problem.code != _GONE:
                        raise
        return count
