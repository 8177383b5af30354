"""A node with two pods on its bridge, a pod of another node, and somebody outside: network namespaces with real packets.

outside 192.0.2.2 -- 192.0.2.1 node 10.244.1.1 -- bridge -- a 10.244.1.2, b 10.244.1.3
                           10.244.2.1 -- far 10.244.2.2
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.unit.policies.judge import Packet

# Two test processes at once must not take each other's namespaces away.
NODE = f"kybern-policed-{os.getpid()}"
POD_A, POD_B, FAR, OUTSIDE = (f"{NODE}-{name}" for name in ("a", "b", "far", "out"))
# Serves TCP and UDP, and calls whom it is told to call, all at once: "tcp 10.0.0.2 10.0.0.1 80", from whom to whom,
# on a line of its own.
AGENT = """
import asyncio, itertools, socket, sys
# Each call from a port of its own: one that a call of before came from still counts as that call's connection, which passes.
callers = itertools.cycle(range(1024, 65536))
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, caller): self.transport.sendto(data, caller)
class Heard(asyncio.DatagramProtocol):
    def __init__(self, heard): self.heard = heard
    def datagram_received(self, data, caller): self.heard.done() or self.heard.set_result(True)
    def error_received(self, problem): pass
async def serve(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()
async def tcp(source, address, port):
    reader, writer = await asyncio.open_connection(address, port, local_addr=(source, next(callers)))
    writer.write(b"x")
    got = await reader.read(1)
    writer.close()
    return bool(got)
async def udp(source, address, port):
    loop = asyncio.get_running_loop()
    heard = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: Heard(heard), (source, next(callers)), (address, port))
    transport.sendto(b"x")
    try:
        return await heard
    finally:
        transport.close()
async def knock(line):
    kind, source, address, port = line.split()
    try:
        found = await asyncio.wait_for({"tcp": tcp, "udp": udp}[kind](source, address, int(port)), 1.2)
    except (TimeoutError, OSError):
        found = False
    print(line, "open" if found else "shut", flush=True)
async def main():
    loop = asyncio.get_running_loop()
    for port in (80, 81):
        both = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=True)
        await asyncio.start_server(serve, sock=both)
    both = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    both.bind(("::", 80))
    await loop.create_datagram_endpoint(Echo, sock=both)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    knocks = set()
    while line := (await lines.readline()).decode().strip():
        knocks.add(asyncio.create_task(knock(line)))
asyncio.run(main())
"""


def sh(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, timeout=30)


def in_node(command: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", NODE, *command.split()],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout


@dataclass
class Agents:
    """A process in each namespace; ``where`` tells who has which address."""

    processes: dict[str, "subprocess.Popen[str]"]
    where: dict[str, str] = field(default_factory=dict)

    def open(self, packets: list[Packet]) -> set[Packet]:
        """Those of the packets that come through and are answered; all are tried at once."""
        asked: dict[str, list[Packet]] = {}
        for packet in packets:
            asked.setdefault(self.where[packet.source], []).append(packet)
        for name, mine in asked.items():
            lines = self.processes[name].stdin
            assert lines is not None
            lines.write("".join(f"{_line(one)}\n" for one in mine))
            lines.flush()
        return {one for name, mine in asked.items() for one in self._answers(name, mine)}

    def _answers(self, name: str, asked: list[Packet]) -> Iterator[Packet]:
        lines = self.processes[name].stdout
        assert lines is not None
        told = [lines.readline().strip().rpartition(" ") for _ in asked]
        found = {line for line, _, state in told if state == "open"}
        return (one for one in asked if _line(one) in found)


def _line(packet: Packet) -> str:
    return f"{packet.protocol.lower()} {packet.source} {packet.destination} {packet.port}"


def _hurry(name: str) -> None:
    """Addresses of links made from now on are good at once: nobody else could have them."""
    for which in ("all", "default"):
        sh(f"ip netns exec {name} sysctl -qw net.ipv6.conf.{which}.accept_dad=0")


def _join(name: str, addresses: tuple[str, ...], gateways: tuple[str, ...], peer: str) -> None:
    sh(f"ip netns add {name}")
    _hurry(name)
    sh(f"ip link add {peer} netns {NODE} type veth peer name eth0 netns {name}")
    for address in addresses:
        sh(f"ip -n {name} addr add {address} dev eth0{' nodad' if ':' in address else ''}")
    sh(f"ip -n {name} link set lo up")
    sh(f"ip -n {name} link set eth0 up")
    for gateway in gateways:
        sh(f"ip -n {name} route add default via {gateway}")
    sh(f"ip -n {NODE} link set {peer} up")


@contextmanager
def network() -> Iterator[Agents]:
    with ExitStack() as undo:
        for name in (NODE, POD_A, POD_B, FAR, OUTSIDE):
            remove = ["ip", "netns", "del", name]
            subprocess.run(remove, check=False, capture_output=True, timeout=30)
            undo.callback(subprocess.run, remove, check=False, capture_output=True, timeout=30)
        sh(f"ip netns add {NODE}")
        _hurry(NODE)
        sh(f"ip -n {NODE} link set lo up")
        sh(f"ip -n {NODE} link add cni0 type bridge")
        for address in ("10.244.1.1/24", "fd00:244:1::1/64 nodad"):
            sh(f"ip -n {NODE} addr add {address.split()[0]} dev cni0 {' '.join(address.split()[1:])}".strip())
        sh(f"ip -n {NODE} link set cni0 up")
        for number, name in enumerate((POD_A, POD_B), 2):
            ours = (f"10.244.1.{number}/24", f"fd00:244:1::{number}/64")
            _join(name, ours, ("10.244.1.1", "fd00:244:1::1"), f"pod{number}")
            sh(f"ip -n {NODE} link set pod{number} master cni0")
            sh(f"ip -n {NODE} link set pod{number} type bridge_slave hairpin on")
        _join(FAR, ("10.244.2.2/24",), ("10.244.2.1",), "far")
        sh(f"ip -n {NODE} addr add 10.244.2.1/24 dev far")
        _join(OUTSIDE, ("192.0.2.2/24", "192.0.2.3/24"), ("192.0.2.1",), "outside")
        sh(f"ip -n {NODE} addr add 192.0.2.1/24 dev outside")
        # A service IP must have a way out to be looked at at all.
        sh(f"ip -n {NODE} route add default via 192.0.2.2")
        for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            sh(f"ip netns exec {NODE} sysctl -qw {setting}=1")
        yield Agents({name: _agent(name, undo) for name in (NODE, POD_A, POD_B, FAR, OUTSIDE)})


def _agent(name: str, undo: ExitStack) -> "subprocess.Popen[str]":
    command = ["ip", "netns", "exec", name, sys.executable, "-c", AGENT]
    process = undo.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    undo.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def inside[T](work: Coroutine[Any, Any, T]) -> T:
    """Runs in the node's network namespace."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{NODE}", os.O_RDONLY)
    try:
        os.setns(there, os.CLONE_NEWNET)
        return asyncio.run(work)
    finally:
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)
        os.close(there)
