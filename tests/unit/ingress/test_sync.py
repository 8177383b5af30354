"""The loop that keeps haproxy at what the API says, with a haproxy that is a few answers."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from kybern.client.cache import Cache
from kybern.client.watch import Synced
from kybern.ingress import sync
from kybern.ingress.haproxy import CannotApply, Haproxy
from kybern.ingress.render import Place
from kybern.ingress.sync import KINDS, Syncer


class Fake(Haproxy):
    """Refuses to load as often as ``refusals`` say, then takes everything."""

    def __init__(self, folder: Path, refusals: int) -> None:
        super().__init__(folder, folder / "control", folder / "master")
        self.refusals, self.loaded = refusals, asyncio.Event()

    async def check(self, configuration: Path) -> None:
        assert configuration.exists()

    async def load(self, digest: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise CannotApply("not now")
        self.loaded.set()


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"kybern_ingress_{name}") or 0.0


async def test_what_haproxy_refuses_is_counted_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "_PAUSE", 0.0)
    monkeypatch.setattr(sync, "_LOOK", 0.0)
    cache, haproxy, ready = Cache(), Fake(tmp_path, 1), asyncio.Event()
    for kind in KINDS:
        cache.add(kind)
        cache.apply(Synced(()), kind)
    syncer = Syncer(cache, haproxy, Place(default_certificate="PEM"), lambda _: None, ready.set)
    before = {name: counted(name) for name in ("sync_failures_total", "configurations_total")}

    running = asyncio.create_task(syncer.run())
    try:
        async with asyncio.timeout(10):
            while not syncer.problem:
                await asyncio.sleep(0)
            assert (syncer.problem, ready.is_set()) == ("not now", False)
            await ready.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert syncer.problem == ""
    assert counted("sync_failures_total") == before["sync_failures_total"] + 1
    assert counted("configurations_total") == before["configurations_total"] + 1, "kept from the first try"
    assert counted("sync_last_timestamp_seconds") > 0
