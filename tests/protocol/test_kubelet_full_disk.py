"""A disk without any room below the kubelet: what runs goes on, what is there stays whole, and nothing is given up.

The kubelet's own directory is a small file system of its own, filled to the last byte.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import Node, Pod
from tests.protocol.containerd_bed import (
    KINDS,
    SLEEP,
    Api,
    Bed,
    OneNode,
    clean,
    first,
    needed,
    one_node,
    running,
)
from tests.protocol.pods_bed import until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

NOTES = {
    "name": "notes",
    "downwardAPI": {"items": [{"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}}]},
}
SEEN = {"name": "notes", "mountPath": "/notes"}
CALM: dict[str, Any] = {"name": "c", "command": SLEEP, "volumeMounts": [SEEN]}


class Disk:
    """A small file system, and what fills it."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.filler = at / "filler"

    def fill(self) -> None:
        """To the last page: also what is only half a page goes nowhere."""
        with self.filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        self.filler.unlink()


@pytest.fixture
def disk(bed: Bed) -> Iterator[Disk]:
    at = bed.at / "kubelet"
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", at], check=True, timeout=10)
    try:
        yield Disk(at)
    finally:
        subprocess.run(["umount", at], check=True, timeout=10)


def ready(node: OneNode) -> bool:
    found = node.api.one(Node, "", "n1")
    return found is not None and {c.type: c.status for c in found.status.conditions}["Ready"] == "True"


async def noted(node: OneNode, word: str) -> Pod:
    """What the pod calm is to see in its volume."""
    return await node.change("calm", {"metadata": {"annotations": {"word": word}}})


def tells(node: OneNode, name: str, text: str = "No space left on device") -> bool:
    return any(text in message for _reason, message in node.events(name))


async def shows(node: OneNode, word: str) -> bool:
    return f'word="{word}"' in await node.execute("calm", "cat", "/notes/notes")


async def calm_one(node: OneNode) -> Pod:
    await node.add("calm", CALM, volumes=[NOTES])
    await noted(node, "before")
    pod = await node.until("calm", running)
    await until(lambda: shows(node, "before"))
    return pod


async def test_what_runs_goes_on_and_what_is_there_stays_whole(bed: Bed, disk: Disk) -> None:
    async with one_node(bed) as node:
        before = first(await calm_one(node))
        hosts = await node.execute("calm", "cat", "/etc/hosts")
        disk.fill()

        await noted(node, "while-full" * 1000)
        await until(lambda: tells(node, "calm"))
        assert await shows(node, "before"), "the old content, whole"
        trees = [path.name for path in disk.at.glob("pods/*/volumes/*/notes/..2*")]
        assert len(trees) == 1, "nothing half is left behind"

        # It is run again: that needs nothing but what is there.
        await node.runtime.stop_container(before.container_id.partition("://")[2], 0)
        await node.until("calm", lambda pod: running(pod) and first(pod).restart_count == 1)
        assert await node.execute("calm", "cat", "/etc/hosts") == hosts
        assert ready(node)

        disk.free()
        await noted(node, "after")
        await until(lambda: shows(node, "after"))
    await clean(bed)


async def test_what_comes_waits_for_room_and_what_goes_goes(bed: Bed, disk: Disk) -> None:
    async with one_node(bed) as node:
        await node.add("goes", {"name": "c", "command": SLEEP})
        await node.until("goes", running)
        disk.fill()

        await node.add("comes", {"name": "c", "command": SLEEP})
        await until(lambda: tells(node, "comes"))
        await node.delete("goes")
        await node.gone("goes")
        assert ready(node)
        waits = node.pod("comes")
        assert waits is not None
        assert waits.status.phase in ("", "Pending")

        disk.free()
        await node.until("comes", running, 60)
    await clean(bed)


async def test_a_kubelet_starts_on_a_full_disk(bed: Bed, disk: Disk) -> None:
    api = Api(*KINDS)
    async with one_node(bed, api) as node:
        before = first(await calm_one(node))
    disk.fill()
    async with one_node(bed, api) as node:
        await node.add("comes", {"name": "c", "command": SLEEP})
        await until(lambda: tells(node, "comes"))
        await until(lambda: ready(node))
        after = node.pod("calm")
        assert after is not None
        assert (first(after).container_id, first(after).restart_count) == (before.container_id, 0)

        disk.free()
        await node.until("comes", running, 60)
    await clean(bed)


@pytest.fixture
def small_bed() -> Iterator[tuple[Bed, Disk]]:
    """A containerd whose images and layers lie on a small file system."""
    found = Bed(Path(tempfile.mkdtemp(prefix="kb-")), needed())
    root = found.at / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "small", root], check=True, timeout=10)
    try:
        found.start()
        yield found, Disk(root)
    finally:
        found.stop()
        subprocess.run(["umount", "-l", root], check=True, timeout=10)
        shutil.rmtree(found.at, ignore_errors=True)


async def test_a_runtime_without_room_makes_nothing_new_and_loses_nothing(
    small_bed: tuple[Bed, Disk],
) -> None:
    bed, disk = small_bed
    async with one_node(bed) as node:
        await node.add("calm", {"name": "c", "command": SLEEP})
        before = first(await node.until("calm", running))
        await node.add("goes", {"name": "c", "command": SLEEP})
        await node.until("goes", running)
        disk.fill()

        await node.add("comes", {"name": "c", "command": SLEEP})
        await until(lambda: tells(node, "comes", "no space left on device"))
        # The runtime cannot write down that it ended.
        await node.delete("goes")
        await until(lambda: tells(node, "goes", "Stopping container c"))
        calm = node.pod("calm")
        assert calm is not None
        assert (first(calm).container_id, first(calm).restart_count) == (before.container_id, 0)
        assert await node.execute("calm", "echo", "well") == "well"

        disk.free()
        await node.until("comes", running, 90)
        await node.gone("goes", 90)
    await clean(bed)
