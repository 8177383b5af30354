"""Which kubelets are asked where, what is kept of them, and that one that is silent keeps nobody from the others."""

import logging
from collections.abc import Iterator
from typing import Any, override

import aiohttp
import pytest

from kybern.api.core_v1 import DaemonEndpoint, Node, NodeAddress, NodeDaemonEndpoints, NodeStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.metrics.readings import Point, Reading
from kybern.metrics.scrape import Pair, Scraper, Silent, kept, url


def node(name: str, *addresses: tuple[str, str], port: int = 0) -> Node:
    endpoints = NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=port)) if port else None
    listed = tuple(NodeAddress(type=kind, address=address) for kind, address in addresses)
    return Node(
        metadata=ObjectMeta(name=name), status=NodeStatus(addresses=listed, daemon_endpoints=endpoints)
    )


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (node("a", ("Hostname", "a"), ("InternalIP", "10.0.0.1")), "https://10.0.0.1:10250/metrics/resource"),
        (node("a", ("Hostname", "a"), port=10350), "https://a:10350/metrics/resource"),
        (
            node("a", ("ExternalIP", "2001:db8::1"), ("Hostname", "a")),
            "https://[2001:db8::1]:10250/metrics/resource",
        ),
        (
            node("a", ("InternalIP", "10.0.0.1"), ("InternalIP", "2001:db8::1")),
            "https://10.0.0.1:10250/metrics/resource",
        ),
        (node("a"), ""),
    ],
    ids=["internal first", "own port", "version 6", "two families", "nowhere"],
)
def test_a_kubelet_is_asked_at_its_node_s_address(found: Node, wanted: str) -> None:
    assert url(found) == wanted


def pair(at: float) -> Pair:
    return Pair(Reading(Point(at, 1.0, 1)))


def test_what_is_old_or_of_no_node_is_dropped() -> None:
    found = kept({"a": pair(100), "b": pair(39), "gone": pair(100)}, {"a", "b"}, 40)

    assert list(found) == ["a"]


def test_a_reading_of_the_same_time_moves_nothing() -> None:
    found = pair(100)
    found.add(Reading(Point(100, 2.0, 2)))
    assert not found.before

    found.add(Reading(Point(115, 2.0, 2)))
    assert found == Pair(Reading(Point(115, 2.0, 2)), Reading(Point(100, 1.0, 1)))


class Us:
    def tls(self) -> bool:
        return False

    def authorization(self) -> str:
        return ""


class Told(Scraper):
    """What kubelets say, without a network: by URL."""

    texts: dict[str, str]

    @override
    async def _text(self, session: aiohttp.ClientSession, where: str) -> str:
        if where not in self.texts:
            raise Silent("connection refused")
        return self.texts[where]


async def test_a_silent_kubelet_is_named_and_the_others_are_read(caplog: pytest.LogCaptureFixture) -> None:
    def nodes() -> Iterator[Node]:
        return iter([node("dead", ("InternalIP", "10.0.0.1")), node("alive", ("InternalIP", "10.0.0.2"))])

    session: Any = None
    scraper = Told(nodes, Us(), period=1e9)
    for at in (100, 110):
        scraper.texts = {
            "https://10.0.0.2:10250/metrics/resource": (
                f"node_cpu_usage_seconds_total {at / 10} {at * 1000}\nnode_memory_working_set_bytes 7 {at * 1000}\n"
            )
        }
        with caplog.at_level(logging.WARNING):
            await scraper._round(session)

    used = scraper.node("alive")
    assert used is not None
    assert (used.cpu, used.memory) == (0.1, 7)
    assert scraper.node("dead") is None
    assert "cannot read what node dead uses: connection refused" in caplog.text
