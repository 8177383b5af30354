"""Memory that is given back."""

import asyncio
import mmap
from pathlib import Path

import pytest

from kybern.daemon import heap


async def test_it_is_asked_for_again_and_again() -> None:
    times: list[int] = []
    three = asyncio.Event()

    def act() -> None:
        times.append(len(times))
        if len(times) == 3:
            three.set()

    task = asyncio.create_task(heap.given_back(0.001, act))
    await asyncio.wait_for(three.wait(), 5)
    task.cancel()
    await asyncio.wait([task])

    assert times[:3] == [0, 1, 2]


def test_freed_blocks_below_one_that_is_in_use_go_back() -> None:
    """As they lie in a heap after a busy time: the last is kept, so the heap itself cannot shrink."""
    give = heap.trim()
    if give is None:
        pytest.skip("this C library has no malloc_trim")
    give()
    blocks = [bytearray(100_000) for _ in range(300)]
    last = blocks.pop()
    full = _resident()
    blocks.clear()
    give()

    assert _resident() < full - 20 * 2**20
    assert len(last) == 100_000


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
