"""A containerd that hangs while pods come, go and crash: when it goes on, each runs once, and nothing else does."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from tests.protocol.containerd_bed import (
    KINDS,
    NODE,
    SLEEP,
    Api,
    Bed,
    OneNode,
    clean,
    first,
    running,
    settings,
)
from tests.protocol.freezing import frozen
from tests.protocol.pods_bed import until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(240)]

# Less than the hang lasts: what was asked of it is given up, and may be done all the same.
PATIENCE = 3.0
HANGS = 8.0


@asynccontextmanager
async def impatient(bed: Bed) -> AsyncIterator[OneNode]:
    api = Api(*KINDS)
    async with Runtime(bed.endpoint, PATIENCE) as runtime:
        await runtime.greet()
        kubelet = Kubelet(settings(bed, status_every=1.0), runtime, api, NODE)
        task = asyncio.create_task(kubelet.run())
        try:
            yield OneNode(bed, api, kubelet, runtime)
        finally:
            if task.done():
                task.result()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextmanager
def hanging(bed: Bed) -> Iterator[None]:
    assert bed.process is not None
    with frozen(bed.process):
        yield


def processes(bed: Bed, uid: str) -> list[int]:
    """The first process of each of a pod's containers, without the one that only holds its namespaces."""
    files = Path("/sys/fs/cgroup").glob(f"**{bed.cgroup}/**/pod{uid}/**/cgroup.procs")
    found = {int(text) for file in files for text in file.read_text().split()}
    return [one for one in found if _is_first(Path(f"/proc/{one}"))]


def _is_first(process: Path) -> bool:
    try:
        inside = next(line for line in (process / "status").read_text().splitlines() if "NSpid" in line)
        return inside.split()[-1] == "1" and b"trap" in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_pods_that_come_while_it_hangs_run_once(bed: Bed) -> None:
    async with impatient(bed) as node:
        names = []
        for turn, pause in enumerate((0.05, 0.3, 0.6, 0.9)):
            for number in range(4):
                names.append(f"p{turn}-{number}")
                await node.add(names[-1], {"name": "c", "command": SLEEP}, {"name": "d", "command": SLEEP})
            await asyncio.sleep(pause)
            with hanging(bed):
                await asyncio.sleep(HANGS)
            for name in names[-4:]:
                await node.until(name, running, 60)

        for name in names:
            pod = node.pod(name)
            assert pod is not None
            actual = await node.runtime.actual(pod.metadata.uid)
            assert Counter(run.name for run in actual.instances if run.running) == {"c": 1, "d": 1}, name
            assert sum(box.ready for box in actual.sandboxes) == 1, name
            assert len(processes(bed, pod.metadata.uid)) == 2, name
    await clean(bed)


async def test_what_crashes_and_what_goes_meanwhile_does_so_once(bed: Bed) -> None:
    async with impatient(bed) as node:
        pods = [await node.add(name, {"name": "c", "command": SLEEP}) for name in ("calm", "crashes", "goes")]
        before = {name: first(await node.until(name, running)) for name in ("calm", "crashes", "goes")}
        with hanging(bed):
            (process,) = processes(bed, pods[1].metadata.uid)
            os.kill(process, signal.SIGKILL)
            await node.delete("goes")
            await asyncio.sleep(HANGS)
        await node.gone("goes")
        crashed = await node.until("crashes", lambda pod: running(pod) and first(pod).restart_count > 0, 60)
        calm = node.pod("calm")
        assert calm is not None

        assert first(crashed).restart_count == 1
        assert first(crashed).last_state.terminated.container_id == before["crashes"].container_id
        assert (first(calm).container_id, first(calm).restart_count) == (before["calm"].container_id, 0)
        await until(lambda: not processes(bed, pods[2].metadata.uid))
    await clean(bed)
