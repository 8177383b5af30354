"""File systems whose server is away: what hangs keeps one thread, and nobody who asks for something else."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kybern.api.core_v1 import NFSVolumeSource, Volume
from kybern.kubelet.aside import Aside
from kybern.kubelet.stats import claimed, measure, trees
from kybern.kubelet.stats.claimed import ClaimedVolumes
from kybern.kubelet.stats.measure import Measure
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.volumes import kept, kernel
from kybern.kubelet.volumes.kept import Kept
from kybern.kubelet.volumes.plugin import CannotMount
from tests.unit.kubelet.making import container, pod


def asking() -> int:
    return sum(thread.name == "aside" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def nobody_asks() -> None:
    """What another test left waiting has ended."""
    for thread in threading.enumerate():
        if thread.name == "aside":
            thread.join(30)
    assert asking() == 0


@contextmanager
def server_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Whoever asks how full a file system is waits until it is back."""
    back = threading.Event()

    def hang(_path: Path) -> Any:
        back.wait(30)
        raise OSError("stale file handle")

    monkeypatch.setattr(trees, "file_system", hang)
    monkeypatch.setattr(trees, "mounted", hang)
    monkeypatch.setattr(Path, "is_mount", lambda _path: True)
    try:
        yield back
    finally:
        back.set()


async def test_an_answer_and_a_problem_are_handed_on() -> None:
    aside = Aside()

    assert await aside.ask("a", lambda: 42, 5) == 42
    with pytest.raises(ZeroDivisionError):
        await aside.ask("a", lambda: 1 // 0, 5)
    assert aside.waiting == set()


async def test_what_hangs_is_asked_once_and_again_when_it_is_back() -> None:
    aside, back = Aside(), threading.Event()
    for _turn in range(5):
        with pytest.raises(TimeoutError):
            await aside.ask("a", lambda: back.wait(30), 0.01)
    assert asking() == 1
    assert await aside.ask("b", lambda: "well", 5) == "well"

    back.set()
    async with asyncio.timeout(30):
        while aside.waiting:
            await asyncio.sleep(0.01)
    assert await aside.ask("a", lambda: "well", 5) == "well"


async def test_a_claim_that_hangs_takes_no_thread_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    persistent = SimpleNamespace(spec=SimpleNamespace(csi=None, host_path=None, volume_mode=None))
    site = SimpleNamespace(persistent=persistent, drivers=None)
    claims = SimpleNamespace(claimed={"u": {"v": SimpleNamespace(site=site, path=Path("/nfs"))}})
    volumes = ClaimedVolumes(cast("Kept", claims), 60.0, lambda: now)
    monkeypatch.setattr(claimed, "_PATIENCE", 0.01)
    with server_away(monkeypatch):
        for _turn in range(40):
            await volumes.look()
            now += 61
        assert asking() == 1
        # As many as all threads together: with one that hangs for each look none would be left.
        async with asyncio.timeout(30):
            await asyncio.gather(*(asyncio.to_thread(int) for _one in range(40)))


async def test_a_volume_that_cannot_be_taken_away_waits_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods whose server is away at their end do not take all threads, one after the other."""
    back, mounted = threading.Event(), tmp_path / "pods/u/volumes/kubernetes.io~nfs/v"
    mounted.mkdir(parents=True)
    taken = Kept(tmp_path, cast("Any", None))
    monkeypatch.setattr(kept, "_PATIENCE", 0.01)
    monkeypatch.setattr(kept, "_mounts_below", lambda _home: [] if back.is_set() else [mounted])
    monkeypatch.setattr(kernel, "unmount", lambda _path: back.wait(30))
    for _turn in range(10):
        with pytest.raises(CannotMount, match="does not end"):
            await taken.remove("u")
    assert asking() == 1

    back.set()
    await taken.remove("u")
    assert not (tmp_path / "pods/u").exists()


async def test_a_volume_of_a_pod_that_hangs_keeps_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    volume = Volume(name="v", nfs=NFSVolumeSource(path="/", server="away"))
    one = pod(container(), volumes=(volume,))
    here = SimpleNamespace(runtime=None, volumes=SimpleNamespace(home=lambda uid: Path("/pods") / uid))
    measured = Measure(cast("Surroundings", here), lambda: (one,), 60.0, lambda: now)
    monkeypatch.setattr(measure, "_PATIENCE", 0.01)
    with server_away(monkeypatch):
        for _turn in range(10):
            async with asyncio.timeout(30):
                await measured._look_afar([one])
            assert measured._volume(one, volume).used == 0
            now += 61
        assert asking() == 1
