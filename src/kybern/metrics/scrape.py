"""Ask every kubelet what its node and pods use, again and again.

What holds: a node is asked at most once at a time, and a slow or dead one delays no other; the last two readings of
every node are kept, and those of a node that is gone, or that has not answered for STALE periods, are dropped, so that
nobody scales by what was true long ago. The kubelet's certificate is verified against the cluster's authority.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from prometheus_client import Counter, Histogram

from kybern.api.core_v1 import Node
from kybern.client.connections import Connections
from kybern.daemon.dialling import refusal
from kybern.metrics.readings import Pod, Reading, Unreadable, read
from kybern.metrics.usage import Use, between, of_pods

LOG = logging.getLogger(__name__)
STALE = 4
AT_ONCE = 50
LARGEST = 64 << 20  # bytes of one kubelet's answer
_PREFERRED = ("InternalIP", "ExternalIP", "Hostname")
_PORT = 10250

ASKED = Counter("metrics_server_kubelet_request_total", "Looks at kubelets", ["success"])
SECONDS = Histogram("metrics_server_kubelet_request_duration_seconds", "Time of a look at a kubelet")


class Identity(Protocol):
    """Who we are to a kubelet; see ``kybern.client.rest.Client``. Both follow their files."""

    def tls(self) -> ssl.SSLContext | bool: ...

    def authorization(self) -> str: ...


class Silent(Exception):
    """A kubelet did not tell; the message says why."""


def url(node: Node) -> str:
    """Where a node's kubelet tells what is used; nothing when it has no address."""
    # Of several of a kind the first: on a node of two families the kubelet listens by that.
    ordered = (one.address for kind in _PREFERRED for one in node.status.addresses if one.type == kind)
    host = next(ordered, "")
    told = node.status.daemon_endpoints
    port = told.kubelet_endpoint.port if told is not None and told.kubelet_endpoint is not None else _PORT
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{port or _PORT}/metrics/resource" if host else ""


@dataclass(slots=True)
class Pair:
    """The last two readings of a node."""

    after: Reading
    before: Reading | None = None

    def add(self, reading: Reading) -> None:
        # A kubelet that measured nothing anew would leave no time between the two.
        if reading.node.at > self.after.node.at:
            self.before, self.after = self.after, reading


def kept(pairs: Mapping[str, Pair], nodes: Container[str], oldest: float) -> dict[str, Pair]:
    """Those of nodes that are there and were measured after ``oldest``."""
    return {name: pair for name, pair in pairs.items() if name in nodes and pair.after.node.at > oldest}


@dataclass(slots=True)
class Scraper:
    """``period`` seconds between the looks at a node, ``patience`` seconds for one of them."""

    nodes: Callable[[], Iterator[Node]]
    identity: Identity
    period: float = 15.0
    patience: float = 10.0
    rounds: int = 0
    _pairs: dict[str, Pair] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=self.patience)
        async with aiohttp.ClientSession(connector=Connections(limit=AT_ONCE), timeout=timeout) as session:
            while True:
                began = time.monotonic()
                await self._round(session)
                self.rounds += 1
                await asyncio.sleep(max(0.0, began + self.period - time.monotonic()))

    async def _round(self, session: aiohttp.ClientSession) -> None:
        nodes = {node.metadata.name: node for node in self.nodes()}
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for node in nodes.values():
                tasks.create_task(self._look(session, node, room))
        self._pairs = kept(self._pairs, nodes, time.time() - STALE * self.period)

    async def _look(self, session: aiohttp.ClientSession, node: Node, room: asyncio.Semaphore) -> None:
        name = node.metadata.name
        async with room:
            try:
                with SECONDS.time():
                    reading = read(await self._text(session, url(node)), time.time())
            except (Silent, Unreadable) as problem:
                ASKED.labels("false").inc()
                LOG.warning("cannot read what node %s uses: %s", name, problem)
                return
        ASKED.labels("true").inc()
        known = self._pairs.get(name)
        if known is None:
            self._pairs[name] = Pair(reading)
        else:
            known.add(reading)

    async def _text(self, session: aiohttp.ClientSession, where: str) -> str:
        if not where:
            raise Silent("it has no address")
        token = self.identity.authorization()
        headers = {"Authorization": token} if token else {}
        try:
            async with session.get(
                where, ssl=self.identity.tls(), headers=headers, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise Silent(f"{where} answers {answer.status}: {(await answer.text())[:200].strip()}")
                body = await answer.content.read(LARGEST)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            host, _, port = where.removeprefix("https://").partition("/")[0].rpartition(":")
            raise Silent(refusal(problem, host.strip("[]"), int(port))) from problem
        return body.decode(errors="replace")

    def node(self, name: str) -> Use | None:
        pair = self._pairs.get(name)
        return between(pair.before.node if pair.before else None, pair.after.node) if pair else None

    def pods(self) -> Mapping[Pod, Mapping[str, Use]]:
        """Of all nodes."""
        found: dict[Pod, Mapping[str, Use]] = {}
        for pair in self._pairs.values():
            found |= of_pods(pair.before, pair.after)
        return found
