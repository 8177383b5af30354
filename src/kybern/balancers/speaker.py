"""The speaker of one node: announces the addresses that are this node's turn.

    API ──services, nodes, slices──> elect ──this node's addresses──> ARP and neighbour discovery on the link
    other speakers ──beats──> who is alive ──┘

What holds: nothing is announced before all kinds are known and the others had time to be heard; and while this node does not
lead to pods (``serves``), its beats say so, and it announces only what nobody could who does. When the API cannot be
reached, the last that it said stands, and beats still tell who is alive. What is not ours to announce is never answered.
"""

import asyncio
import logging
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from kybern.api.core_v1 import Node, Secret, Service
from kybern.balancers import frames, metrics
from kybern.balancers.beats import PERIOD, Beat, Heard, pack, unpack
from kybern.balancers.elect import SERVICE, Announced, Key, SeenSlice, announced, mine
from kybern.balancers.keys import key_of
from kybern.balancers.link import Link
from kybern.balancers.repeats import Repeats
from kybern.balancers.serving import always
from kybern.client.cache import Cache
from kybern.machinery.pools import Address

log = logging.getLogger(__name__)

_TICK = PERIOD / 2

type Tell = Callable[[Key, str, str], None]  # of a service: reason and message


@dataclass(slots=True)
class Speaker:
    """``port`` is where beats go, on every node; ``cache`` holds Service, Node, SeenSlice and the Secret of the key.

    ``serves`` tells whether packets for an address would find pods from here, at a time of the loop's.
    """

    node: str
    cache: Cache
    link: Link
    port: int
    tell: Tell
    serves: Callable[[float], bool] = always
    _repeats: Repeats = field(default_factory=Repeats)
    _told: tuple[Announced, ...] = ()
    _stale: bool = True
    _number: int = 0

    def changed(self) -> None:
        """Something in the cache is not as it was."""
        self._stale = True

    async def run(self) -> None:
        metrics.count(lambda: len(self._repeats.addresses))
        await self.cache.synced()
        loop = asyncio.get_running_loop()
        with _listening(self.port) as beats:
            heard = Heard(self.node, loop.time())
            loop.add_reader(beats.fileno(), self._hear, beats, heard)
            for one in self.link.sockets:
                loop.add_reader(one.fileno(), self._answer, one)
            try:
                while True:
                    now = loop.time()
                    leads = self.serves(now)
                    self._beat(beats, leads)
                    self._decide(heard, now, leads)
                    await asyncio.sleep(_TICK)
            finally:
                for one in (beats, *self.link.sockets):
                    loop.remove_reader(one.fileno())

    def _beat(self, beats: socket.socket, leads: bool) -> None:
        key = key_of(self.cache.list(Secret))
        if not key:
            return
        # Grows from one process to the next, too; never compared with another machine's.
        self._number = max(self._number + 1, time.time_ns())
        datagram = pack(Beat(self.node, self._number, leads), key)
        for peer in reached_at(one for one in self.cache.list(Node) if one.metadata.name != self.node):
            with suppress(OSError):  # a peer that cannot be reached hears nothing: that is what beats are for
                beats.sendto(datagram, (peer, self.port))

    def _hear(self, beats: socket.socket, heard: Heard) -> None:
        key = key_of(self.cache.list(Secret))
        with suppress(BlockingIOError):
            while True:
                datagram = beats.recv(2048)
                found = unpack(datagram, key) if key else None
                if found:
                    heard.hear(found, asyncio.get_running_loop().time())

    def _decide(self, heard: Heard, now: float, leads: bool) -> None:
        if self._stale:
            nodes = tuple(self.cache.list(Node))
            heard.keep(node.metadata.name for node in nodes)
            self._told = announced(self.cache.list(Service), nodes, _by_service(self.cache.list(SeenSlice)))
            self._stale = False
        if heard.is_settled(now) and key_of(self.cache.list(Secret)):
            alive = heard.alive(now)
            metrics.ALIVE.set(len(alive))
            leading = heard.leading(now) | ({self.node} if leads else set())
            self._announce(mine(self._told, alive, leading, self.node), now)

    def _announce(self, wanted: dict[Address, tuple[Key, ...]], now: float) -> None:
        came, went = self._repeats.keep(wanted, now)
        if came or went:
            self.link.listen(wanted)
        metrics.CHANGES.labels("come").inc(len(came))
        metrics.CHANGES.labels("gone").inc(len(went))
        for address in sorted(came, key=str):
            log.info("Announcing %s", address)
            for service in wanted[address]:
                self.tell(service, "AddressAnnounced", f"{address} is announced by node {self.node}")
        for address in sorted(went, key=str):
            log.info("No longer announcing %s", address)
        for address in self._repeats.due(now):
            self.link.send(frames.announcements(address, self.link.hardware))
            metrics.ANNOUNCEMENTS.inc()

    def _answer(self, of: socket.socket) -> None:
        for asked in self.link.questions(of):
            if asked.address in self._repeats.addresses:
                self.link.send((frames.answer(asked, self.link.hardware),))
                metrics.ANSWERS.inc()


def _listening(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", port))
    return made


def reached_at(nodes: Iterable[Node]) -> Iterable[str]:
    """Where to reach nodes, as a socket for both versions of IP has it; the first InternalIP that is an address at all."""
    for node in nodes:
        told = (one.address for one in node.status.addresses if one.type == "InternalIP")
        yield from list(_for_both(told))[:1]


def _for_both(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        try:
            yield text if ip_address(text).version == 6 else f"::ffff:{text}"
        except ValueError:
            continue  # any kubelet may tell what it likes of its own node


def _by_service(slices: Iterable[SeenSlice]) -> dict[Key, list[SeenSlice]]:
    found: defaultdict[Key, list[SeenSlice]] = defaultdict(list)
    for one in slices:
        found[one.metadata.namespace, one.metadata.labels.get(SERVICE, "")].append(one)
    return found
