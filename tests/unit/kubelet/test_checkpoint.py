"""A file that several tasks write: the last state stays."""

import asyncio
from pathlib import Path

from kybern.kubelet.checkpoint import Checkpoint


async def test_the_newest_state_is_on_disk_whoever_was_slower(tmp_path: Path) -> None:
    state = 0
    checkpoint = Checkpoint(tmp_path / "deep/state", lambda: str(state).encode())

    async def change() -> None:
        nonlocal state
        state += 1
        mine = state
        await checkpoint.keep()
        assert int((tmp_path / "deep/state").read_bytes()) >= mine

    await asyncio.gather(*(change() for _ in range(50)))

    assert (tmp_path / "deep/state").read_bytes() == b"50"
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep/state"]
