"""What kybern-dns spends on a question, in this process: a cluster of 1,000 services, bytes in and bytes out.

``from the cache`` is a question that was asked before; ``made`` one that was not. ``over loopback`` are real datagrams
through the daemon's own socket and loop, sent ahead in bursts by a thread: what one core answers in a second, with the
kernel's part. 10,000 a second were asked for.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Iterable

import uvloop

from benchmarks.measure import Benchmark, Row, timed
from benchmarks.proxy import endpoints, service
from kybern.dns.answer import Settings
from kybern.dns.encode import section
from kybern.dns.forward import Forwarder
from kybern.dns.metrics import Counts
from kybern.dns.records import A, records
from kybern.dns.respond import Responder
from kybern.dns.serve import Datagrams, bound
from kybern.dns.zone import Zone

SERVICES, ROUNDS, BURST, QUESTIONS = 1000, 20_000, 50, 100_000


def asked(number: int) -> bytes:
    head = struct.pack("!6H", number & 0xFFFF, 0x100, 1, 0, 0, 0)
    return head + section(f"s{number % SERVICES}.default.svc.cluster.local", A)


def responder(tasks: asyncio.TaskGroup) -> Responder:
    zone, counts = Zone("cluster.local"), Counts()
    zone.set_namespaces(("default",))
    for number in range(SERVICES):
        zone.put(number, records(service(number), (endpoints(number),), zone.domain))
    return Responder(zone, Settings(), Forwarder((), tasks, counts), counts, lambda: True)


def rows() -> Iterable[Row]:
    found = responder(asyncio.TaskGroup())
    questions = [asked(number) for number in range(SERVICES)]

    def made(number: int) -> None:
        found.forget()
        found.at_once(questions[number % SERVICES], "udp")

    yield timed("an answer made", ROUNDS, made)
    yield timed(
        "an answer from the cache", ROUNDS, lambda n: _used(found.at_once(questions[n % SERVICES], "udp"))
    )
    yield timed("one service changed in 1,000", ROUNDS // 10, lambda n: _changed(found.zone, n))
    each, count = uvloop.run(_loopback(questions))
    yield Row("datagrams over loopback, from the cache", each * 1000, count=count)


def _used(answer: object) -> None:
    if not isinstance(answer, bytes):
        raise TypeError("a name of the cluster has to be answered at once")


def _changed(zone: Zone | None, number: int) -> None:
    assert zone is not None, "the daemon of the masters has one"
    zone.put(0, records(service(number % 200), (endpoints(0),), zone.domain))


async def _loopback(questions: list[bytes]) -> tuple[float, int]:
    """Seconds of this thread's CPU for an answer, and how many came."""
    async with asyncio.TaskGroup() as tasks:
        ours = bound("127.0.0.1", 0)
        served = tasks.create_task(Datagrams(ours, responder(tasks), tasks).run())
        await asyncio.sleep(0)
        before = time.thread_time()
        received = await asyncio.to_thread(_client, ours.getsockname(), questions)
        spent = time.thread_time() - before
        served.cancel()
    return spent / received, received


def _client(address: tuple[str, int], questions: list[bytes]) -> int:
    """Bursts of questions, each waited for: what is lost ends it with an error, and not with a better number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.connect(address)
        for start in range(0, QUESTIONS, BURST):
            for number in range(start, start + BURST):
                asking.send(questions[number % len(questions)])
            for _ in range(BURST):
                asking.recv(4096)
    return QUESTIONS


BENCHMARKS = (Benchmark("dns", rows),)
