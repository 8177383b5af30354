"""The queue of keys."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from kybern.loop.controller import Key
from kybern.loop.queue import Queue

A, B = Key("ns", "a"), Key("ns", "b")


async def test_a_key_that_is_added_ten_times_is_worked_on_once() -> None:
    queue = Queue("dedupe")
    for _ in range(10):
        queue.add(A)

    assert await queue.take() == A
    assert queue.idle is False
    queue.done(A)
    assert queue.idle


async def test_a_key_is_never_with_two_workers() -> None:
    queue = Queue("alone")
    queue.add(A)
    await queue.take()

    queue.add(A)
    queue.add(B)
    assert await queue.take() == B

    queue.done(A)
    assert await queue.take() == A


async def test_failures_come_back_after_a_delay_that_doubles() -> None:
    queue = Queue("failures")

    assert [queue.retry(A) for _ in range(4)] == [0.005, 0.010, 0.020, 0.040]
    queue.forget(A)
    assert queue.retry(A) == 0.005
    queue.close()


async def test_delays_have_an_upper_and_a_lower_bound() -> None:
    queue = Queue("bounds")

    assert [queue.retry(A) for _ in range(40)][-1] == 60.0
    assert queue.retry(B, at_least=1.0, at_most=5.0) == 1.0
    queue.close()


async def test_the_soonest_wish_counts() -> None:
    queue = Queue("soonest")
    queue.add_after(A, 60)
    queue.add_after(A, 0.001)
    queue.add_after(A, 30)

    assert await asyncio.wait_for(queue.take(), 1) == A
    queue.done(A)
    assert queue.idle
    queue.close()


async def test_who_waits_gets_what_comes() -> None:
    queue = Queue("waiting")
    first, second = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)

    queue.add(A)
    queue.add(B)

    assert [await first, await second] == [A, B]


async def test_a_worker_that_was_cancelled_takes_no_key_with_it() -> None:
    queue = Queue("cancelled")
    gone, stays = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone

    queue.add(A)

    assert await asyncio.wait_for(stays, 30) == A


def test_figures_can_be_read_when_the_loop_has_ended_amid_some_work() -> None:
    async def begun() -> Queue:
        queue = Queue("ended")
        queue.add(A)
        await queue.take()
        return queue

    queue = asyncio.run(begun())

    assert not queue.idle
    assert REGISTRY.get_sample_value("workqueue_unfinished_work_seconds", {"name": "ended"}) == 0
