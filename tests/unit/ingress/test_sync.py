"""The loop that keeps haproxy at what the API says, with a haproxy that is a few answers."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import kybern.ingress.haproxy
from kybern.api.core_v1 import Secret
from kybern.api.networking_v1 import Ingress, IngressClass
from kybern.client.cache import Cache
from kybern.client.watch import Synced
from kybern.ingress import sync
from kybern.ingress.haproxy import CannotApply, Haproxy, Refused
from kybern.ingress.model import Problem
from kybern.ingress.render import Place
from kybern.ingress.sync import KINDS, Syncer
from tests.unit.ingress.making import CLASSES, ingress, secret


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


async def test_all_else_is_done_without_a_certificate_that_haproxy_refuses(tmp_path: Path) -> None:
    class Choosy(Fake):
        """Refuses a configuration that names one of ``bad``."""

        bad: frozenset[str] = frozenset({"a_bad.pem", "a_worse.pem"})
        checks = 0

        async def check(self, configuration: Path) -> None:
            self.checks += 1
            if any(name in (configuration.parent / "certs.list").read_text() for name in self.bad):
                raise Refused("unable to load certificate")

    names = ("good", "bad", "fine", "worse")
    cache, haproxy, told = Cache(), Choosy(tmp_path, 0), list[Problem]()
    for kind in KINDS:
        cache.add(kind)
        cache.apply(Synced(()), kind)
    cache.apply(Synced(CLASSES), IngressClass)
    ingresses = [ingress(name, tls=((name, (f"{name}.com",)),)) for name in names]
    cache.apply(Synced(tuple(ingresses)), Ingress)
    cache.apply(Synced(tuple(secret(name, f"{name}.com") for name in names)), Secret)
    syncer = Syncer(cache, haproxy, Place(default_certificate="PEM"), told.append, lambda: None)

    await syncer.once()

    used = (tmp_path / "haproxy.cfg").read_text()
    (folder,) = [one for one in tmp_path.iterdir() if one.is_dir()]
    assert folder.name in used
    assert {one.name for one in folder.glob("*.pem")} == {"default.pem", "a_good.pem", "a_fine.pem"}
    assert {(one.key[1], one.reason) for one in told} == {("bad", "BadSecret"), ("worse", "BadSecret")}
    before = haproxy.checks
    await syncer.once()
    assert (haproxy.checks, len(told)) == (before, 2), "what is known is neither tried nor told again"

    haproxy.bad = frozenset()
    cache.apply(Synced(tuple(secret(name, f"new.{name}.com", f"{name}.com") for name in names)), Secret)
    await syncer.once()
    (folder,) = [one for one in tmp_path.iterdir() if one.is_dir()]
    assert len(list(folder.glob("a_*.pem"))) == 4, "another certificate is tried"


async def test_what_haproxy_refuses_for_another_reason_is_not_a_certificates_fault(tmp_path: Path) -> None:
    class Picky(Fake):
        async def check(self, configuration: Path) -> None:
            if "trial" not in configuration.parts:
                raise Refused("no such keyword")

    syncer, told = with_one_certificate(tmp_path, lambda folder: Picky(folder, 0))

    with pytest.raises(CannotApply, match="no such keyword"):
        await syncer.once()
    assert told == []


@pytest.mark.parametrize("after", [0, 1])
async def test_what_the_machine_lacks_is_no_fault_of_a_certificate(tmp_path: Path, after: int) -> None:
    """``after`` so many times that haproxy refuses, it comes to say nothing any more."""

    class Failing(Fake):
        checks = 0

        async def check(self, configuration: Path) -> None:
            self.checks += 1
            raise Refused("?") if self.checks <= after else CannotApply("ended by signal 9")

    syncer, told = with_one_certificate(tmp_path, lambda folder: Failing(folder, 0))

    with pytest.raises(CannotApply, match="ended by signal 9"):
        await syncer.once()
    assert told == []


async def test_a_full_disk_is_a_configuration_that_cannot_be_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    syncer, told = with_one_certificate(tmp_path, lambda folder: Fake(folder, 0))
    monkeypatch.setattr(kybern.ingress.haproxy, "_write", full)

    with pytest.raises(CannotApply, match=r"cannot write .*: No space left"):
        await syncer.once()
    assert told == []


def with_one_certificate(folder: Path, make: Callable[[Path], Haproxy]) -> tuple[Syncer, list[Problem]]:
    cache, told = Cache(), list[Problem]()
    for kind in KINDS:
        cache.add(kind)
        cache.apply(Synced(()), kind)
    cache.apply(Synced(CLASSES), IngressClass)
    cache.apply(Synced((ingress("i", tls=(("cert", ("x.com",)),)),)), Ingress)
    cache.apply(Synced((secret("cert", "x.com"),)), Secret)
    place = Place(default_certificate="PEM")
    return Syncer(cache, make(folder), place, told.append, lambda: None), told
