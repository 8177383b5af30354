"""Addresses announced in a real kernel: two nodes and a client, in network namespaces joined by a bridge."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from kybern.balancers.elect import winner
from tests.protocol.network_namespace import entered

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]
PORT = 10261
NODES = {"n1": "192.0.2.11", "n2": "192.0.2.12"}
V4 = [f"192.0.2.{number}" for number in range(100, 106)]
V6 = [f"2001:db8::{number}" for number in range(100, 104)]
MARK = f"kyb-lb-{os.getpid()}"
HARDWARE = {"n1": "02:00:00:00:00:11", "n2": "02:00:00:00:00:12", "client": "02:00:00:00:00:01"}


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30).stdout


def within(name: str, *words: str) -> str:
    return ip("netns", "exec", f"{MARK}-{name}", *words)


@dataclass
class Net:
    speakers: dict[str, "subprocess.Popen[bytes]"]

    def start(self, name: str, healthz: str = "") -> None:
        nodes = ",".join(f"{one}={address}" for one, address in NODES.items())
        command = [sys.executable, "-m", "tests.protocol.speaking", name, "eth0", str(PORT), nodes]
        self.speakers[name] = subprocess.Popen(
            ["ip", "netns", "exec", f"{MARK}-{name}", *command, ",".join([*V4, *V6]), healthz]
        )

    def kill(self, name: str) -> None:
        made = self.speakers.pop(name)
        made.kill()
        made.wait(10)

    def owner(self, address: str) -> str:
        """The node that a fresh client is led to; "" when nobody answers."""
        within("client", "ip", "neigh", "flush", "dev", "eth0")
        version = socket.AF_INET6 if ":" in address else socket.AF_INET
        with entered(f"{MARK}-client"), socket.socket(version, socket.SOCK_DGRAM) as asks:
            asks.sendto(b"?", (address, 9))
        return self.cached(address, 1.0)

    def cached(self, address: str, seconds: float = 0.0) -> str:
        """Where the client sends packets for an address, as its kernel has it; waits so long for an answer."""
        deadline = time.monotonic() + seconds
        while True:
            words = within("client", "ip", "neigh", "show", address).split()
            if "lladdr" in words and "FAILED" not in words:
                found = words[words.index("lladdr") + 1]
                return next(name for name, one in HARDWARE.items() if one == found)
            if time.monotonic() >= deadline:
                return ""
            time.sleep(0.02)

    def until(self, address: str, owner: str, seconds: float) -> float:
        """How long it takes until a client asks and is led to ``owner``."""
        began = time.monotonic()
        while self.owner(address) != owner:
            assert time.monotonic() - began < seconds, f"{address} is not led to {owner} within {seconds} s"
        return time.monotonic() - began


@pytest.fixture
def net() -> Iterator[Net]:
    found = Net({})
    names = ["bridge", *HARDWARE]
    try:
        for name in names:
            ip("netns", "add", f"{MARK}-{name}")
        within("bridge", "ip", "link", "add", "br0", "type", "bridge")
        within("bridge", "ip", "link", "set", "br0", "up")
        for name, hardware in HARDWARE.items():
            within(
                "bridge",
                "ip",
                "link",
                "add",
                name,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                f"{MARK}-{name}",
            )
            within("bridge", "ip", "link", "set", name, "master", "br0", "up")
            within(name, "ip", "link", "set", "eth0", "address", hardware)
            last = {"client": 1, "n1": 11, "n2": 12}[name]
            within(name, "ip", "addr", "add", f"192.0.2.{last}/24", "dev", "eth0")
            within(name, "ip", "addr", "add", f"2001:db8::{last}/64", "dev", "eth0", "nodad")
            within(name, "ip", "link", "set", "eth0", "up")
        yield found
    finally:
        for name in list(found.speakers):
            found.kill(name)
        for name in names:
            subprocess.run(["ip", "netns", "del", f"{MARK}-{name}"], check=False, timeout=30)


def test_addresses_are_answered_by_one_node_each_and_taken_over_within_five_seconds(net: Net) -> None:
    expected = {one: winner(ip_address(one), NODES) for one in (*V4, *V6)}
    assert set(expected.values()) == set(NODES), "both have a part, or nothing is shown"
    for name in NODES:
        net.start(name)
    for address, name in expected.items():
        net.until(address, name, 20)
    assert {one: net.owner(one) for one in expected} == expected
    assert net.owner("192.0.2.200") == "", "nobody answers for what is not announced"

    # A client that knows the dead node does not ask again: it has to be told.
    lost = [one for one in V4 if expected[one] == "n1"]
    assert net.owner(lost[0]) == "n1"
    net.kill("n1")
    began = time.monotonic()
    while net.cached(lost[0]) != "n2":
        assert time.monotonic() - began < 20, "the client was not told"
        time.sleep(0.02)
    told = time.monotonic() - began
    print(f"a client was told of the takeover after {told:.2f} s")  # noqa: T201  # what the test measures
    assert {net.owner(one) for one in expected} == {"n2"}

    net.start("n1")
    for address, name in expected.items():
        net.until(address, name, 20)


def test_a_node_takes_no_address_before_its_own_kube_proxy_is_well(net: Net, tmp_path: Path) -> None:
    within("n1", "ip", "link", "set", "lo", "up")
    net.start("n1", "http://127.0.0.1:10256/")
    net.start("n2")
    for address in V4:
        net.until(address, "n2", 20)
    time.sleep(6)  # longer than a speaker listens before it answers
    assert {net.owner(one) for one in V4} == {"n2"}, "n1 stands back"

    with kube_proxy(tmp_path, "n1"):
        for address in V4:
            net.until(address, winner(ip_address(address), NODES), 20)


def test_where_no_kube_proxy_is_well_addresses_are_announced_all_the_same(net: Net, tmp_path: Path) -> None:
    """Kernels have the rules that they had. The first that is well takes all of them, as packets surely find pods there."""
    for name in NODES:
        within(name, "ip", "link", "set", "lo", "up")
        net.start(name, "http://127.0.0.1:10256/")
    for address in V4:
        net.until(address, winner(ip_address(address), NODES), 20)

    with kube_proxy(tmp_path, "n2"):
        for address in V4:
            net.until(address, "n2", 20)


@contextmanager
def kube_proxy(folder: Path, node: str) -> Iterator[None]:
    """What answers in its place, for as long as it is well."""
    web = [sys.executable, "-m", "http.server", "10256", "--bind", "127.0.0.1", "--directory", str(folder)]
    well = subprocess.Popen(["ip", "netns", "exec", f"{MARK}-{node}", *web], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        well.kill()
        well.wait(10)
