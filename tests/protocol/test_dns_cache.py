"""The cache of a node in front of a cluster's name server, as processes on loopback, asked by a client that others wrote."""

import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import dnslib
import pytest

from tests.protocol.names_bed import Cache, Elsewhere

WEB = "web.default.svc.cluster.local"


@pytest.fixture
def cluster(free_ports: Callable[[], int]) -> Iterator[Elsewhere]:
    """Stands for cluster DNS; a second server, behind it, is not there."""
    many = tuple(f"many.default.svc.cluster.local. 60 A 10.244.1.{number}" for number in range(1, 120))
    found = Elsewhere(free_ports(), (f"{WEB}. 1 A 10.96.0.7", f"{WEB}. 1 AAAA fd00::7", *many))
    stop = found.start()
    yield found
    stop()


@pytest.fixture
def outside(free_ports: Callable[[], int]) -> Iterator[Elsewhere]:
    found = Elsewhere(free_ports(), ("www.example.com. 60 A 192.0.2.53",))
    stop = found.start()
    yield found
    stop()


@pytest.fixture
def cache(
    tmp_path: Path, cluster: Elsewhere, outside: Elsewhere, free_ports: Callable[[], int]
) -> Iterator[Cache]:
    found = Cache(tmp_path, free_ports(), free_ports())
    found.start(
        f"--cluster-servers=127.0.0.1:{cluster.port},127.0.0.1:{free_ports()}",
        f"--upstreams=127.0.0.1:{outside.port}",
        "--stale-seconds=30",
    )
    found.until(lambda: page(found, "ready") == "OK")
    yield found
    found.stop()


def page(cache: Cache, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{cache.health}/{path}", timeout=5) as answer:
        return str(answer.read().decode())


def test_names_go_to_whom_they_belong_and_are_asked_once(
    cache: Cache, cluster: Elsewhere, outside: Elsewhere
) -> None:
    for _ in range(3):
        assert cache.ask("many.default.svc.cluster.local", tcp=True)[0] == "10.244.1.1"
        assert cache.ask("www.example.com") == ["192.0.2.53"]
        assert cache.query("nobody.default.svc.cluster.local").header.rcode == 3
    assert cache.ask(WEB, "AAAA") == ["fd00::7"]
    cache.query("7.0.96.10.in-addr.arpa", "PTR")

    assert cluster.asked.count("many.default.svc.cluster.local.") == 1
    assert cluster.asked.count("nobody.default.svc.cluster.local.") == 1
    assert "7.0.96.10.in-addr.arpa." in cluster.asked
    assert outside.asked == ["www.example.com."]
    assert not [name for name in cluster.asked if name.endswith("example.com.")]


def test_an_old_answer_holds_while_cluster_dns_is_away(cache: Cache, cluster: Elsewhere) -> None:
    assert cache.ask(WEB) == ["10.96.0.7"]
    cluster.silent = True
    # Its time is a second: until it is over the answer is simply kept, and from then on it is an old one.
    cache.until(
        lambda: (
            cache.ask(WEB) == ["10.96.0.7"]
            and "served_stale_total" in page(cache, "metrics")
            and stale(cache) > 0
        )
    )

    cluster.silent = False
    before = len(cluster.asked)
    cache.until(lambda: cache.query(WEB).rr[0].ttl == 1)
    assert len(cluster.asked) > before


def stale(cache: Cache) -> float:
    lines = page(cache, "metrics").splitlines()
    return float(
        next(line for line in lines if line.startswith("coredns_cache_served_stale_total")).split()[-1]
    )


def test_it_tells_how_it_is_under_the_names_of_coredns(cache: Cache) -> None:
    cache.ask("www.example.com")

    shown = page(cache, "metrics")
    assert 'coredns_cache_entries{server="dns://:53",zones="."} 1.0' in shown
    assert 'coredns_cache_misses_total{server="dns://:53",zones="."} 1.0' in shown


def test_a_resolver_with_a_second_server_loses_nothing_while_the_cache_restarts(
    cache: Cache, cluster: Elsewhere
) -> None:
    """What the kubelet tells pods: the cache, then the Service. The cache's port refuses, which a resolver hears at once."""

    def resolved() -> str:
        asked = bytes(dnslib.DNSRecord.question(WEB).pack())
        for port in (cache.port, cluster.port):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.settimeout(2)
                one.connect(("127.0.0.1", port))
                one.send(asked)
                try:
                    return str(dnslib.DNSRecord.parse(one.recv(4096)).rr[0].rdata)
                except ConnectionRefusedError:
                    continue
        return "lost"

    assert resolved() == "10.96.0.7"
    cache.stop()
    assert {resolved() for _ in range(20)} == {"10.96.0.7"}
    cache.again()
    cache.until(lambda: page(cache, "ready") == "OK")
    assert resolved() == "10.96.0.7"
