"""What is told when the machine has no memory left."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from kybern.kubelet.oom import OutOfMemory, Victim, victim
from kybern.kubelet.voice import Voice

GLOBAL = (
    "6,1201,539381886383,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg=/kubepods/burstable/pod1/abc,task=stress-ng,vm,pid=3103923,uid=1000\n"
)
LIMITED = (
    "6,1202,539381886384,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,"
    "oom_memcg=/kubepods/pod1,task_memcg=/kubepods/pod1/abc,task=hog,pid=7,uid=0\n"
)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (GLOBAL, Victim("stress-ng,vm", 3103923)),
        (LIMITED, None),
        ("6,1,1,-;eth0: link up\n", None),
        ("", None),
    ],
)
def test_only_kills_for_the_whole_machine_count(record: str, found: Victim | None) -> None:
    assert victim(record) == found


class Said:
    """Takes events."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.something = asyncio.Event()

    def emit(
        self,
        _about: object,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        assert type == "Warning"
        self.told.append((reason, message))
        self.something.set()


async def test_a_kill_is_an_event_of_the_node() -> None:
    said = Said()
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    task = asyncio.create_task(OutOfMemory(Voice(said, "n1"), ours.detach).run())

    with kernel:
        for record in (LIMITED, GLOBAL):
            kernel.send(record.encode())
        async with asyncio.timeout(30):
            await said.something.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert said.told == [
        ("SystemOOM", "System OOM encountered, victim process: stress-ng,vm, pid: 3103923")
    ]  # fmt: skip


async def test_a_machine_that_does_not_let_us_read_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def refused() -> int:
        raise PermissionError(1, "Operation not permitted")

    await OutOfMemory(Voice(Said(), "n1"), refused).run()

    assert (
        "cannot tell when the machine has no memory left: /dev/kmsg: Operation not permitted" in caplog.text
    )


async def test_a_log_that_is_none_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a container /dev/kmsg may be a file that nobody can wait for, or have an end."""
    caplog.set_level("INFO")
    file = tmp_path / "kmsg"
    file.write_text(GLOBAL)
    said = Said()

    async with asyncio.timeout(30):
        await OutOfMemory(Voice(said, "n1"), lambda: os.open(file, os.O_RDONLY | os.O_NONBLOCK)).run()
        ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        kernel.close()
        await OutOfMemory(Voice(said, "n1"), ours.detach).run()

    assert caplog.text.count("cannot tell when the machine has no memory left") == 2
    assert said.told == []
