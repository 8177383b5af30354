"""Events that are sent together."""

import asyncio
from collections.abc import Sequence

from kybern.apiserver.audit.batches import TRIES, Batches


class Server:
    """Takes batches, but for the first ``failures``."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.taken: list[list[bytes]] = []
        self.tried = 0
        self.came = asyncio.Event()

    async def send(self, lines: Sequence[bytes]) -> None:
        self.tried += 1
        if self.tried <= self.failures:
            raise OSError("away")
        self.taken.append(list(lines))
        self.came.set()


async def test_they_go_when_there_are_enough_or_when_time_is_up() -> None:
    server = Server()
    batches = Batches("x", server.send, room=10, size=2, wait=0.05)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        going = tasks.create_task(batches._go_on())
        for line in (b"1", b"2", b"3"):
            assert batches.write(line)
        while sum(map(len, server.taken)) < 3:
            await server.came.wait()
            server.came.clear()
        going.cancel()

    assert server.taken == [[b"1", b"2"], [b"3"]]


async def test_what_finds_no_room_is_lost_and_told() -> None:
    batches = Batches("x", Server().send, room=2, size=5, wait=60)

    assert [batches.write(b"1"), batches.write(b"2"), batches.write(b"3")] == [True, True, False]


async def test_a_failure_is_tried_again_and_given_up_after_some_tries() -> None:
    server = Server(failures=2)
    batches = Batches("x", server.send, room=9, size=9, wait=60, backoff=0.001)
    batches.write(b"1")
    await batches._sent(TRIES)
    assert server.taken == [[b"1"]]

    away = Server(failures=99)
    batches = Batches("x", away.send, room=9, size=9, wait=60, backoff=0.001)
    batches.write(b"1")
    await batches._sent(TRIES)
    assert (away.tried, away.taken) == (TRIES, [])


async def test_at_the_end_everything_is_sent() -> None:
    server = Server()
    batches = Batches("x", server.send, room=9, size=2, wait=60)
    for line in (b"1", b"2", b"3"):
        batches.write(line)
    await batches.close()

    assert server.taken == [[b"1", b"2"], [b"3"]]
