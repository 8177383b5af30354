"""A clock that is set while the kubelet runs: hours forward or back, nothing is doubled, lost, or late."""

import asyncio
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kybern.api.core_v1 import Probe, ServiceAccountTokenProjection
from kybern.client.kubeconfig import Config
from kybern.client.verbs import Verbs
from kybern.kubelet import bootstrap
from kybern.kubelet.objects import ApiObjects, Token
from kybern.kubelet.plan import Hold, Start, plan
from kybern.kubelet.probes.prober import initial
from kybern.kubelet.rotation import name_aside, surplus
from kybern.kubelet.runtime import Actual, newest_first
from kybern.kubelet.settings import Settings
from kybern.kubelet.stats.measure import Measure
from kybern.kubelet.stats.use import Cpu
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.machinery.errors import ServiceUnavailable
from tests.unit.kubelet.making import NOW, ago, container, ended, facts, pod, run, sandbox
from tests.unit.kubelet.test_serving_certificate import Signer

HOUR = 3600.0


def test_a_run_that_was_made_after_the_clock_was_set_back_is_the_newest() -> None:
    one = container()
    before = ended(one, attempt=4, created_at=ago(-2 * HOUR), finished_at=ago(-HOUR))
    after = run(one, attempt=5, created_at=ago(60))

    assert list(plan(facts(pod(one), before, after))) == [], "it runs, and is not run again"


def test_a_sandbox_that_was_made_after_the_clock_was_set_back_is_the_newest() -> None:
    dead = sandbox(id="s0", ready=False, attempt=0, created_at=ago(-2 * HOUR))
    ready = sandbox(id="s1", attempt=1, created_at=ago(5))
    one = container()
    actual = Actual("u1", "web", "default", newest_first((dead, ready)), (run(one, sandbox="s1"),))

    assert actual.ready_sandbox == ready
    found = facts(pod(one))
    assert list(plan(type(found)(found.pod, actual, NOW))) == []


@pytest.mark.parametrize("hours", [-5, -1, 1, 5])
def test_who_crashed_before_the_clock_was_set_waits_no_longer_than_ever(hours: int) -> None:
    one = container()
    crashed = ended(one, 1, finished_at=ago(hours * HOUR + 5))

    for action in plan(facts(pod(one), crashed)):
        assert isinstance(action, Hold | Start)
        assert getattr(action, "seconds", 0.0) <= 300


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        pytest.param(0, 30, id="just-started"),
        pytest.param(10, 20, id="in-between"),
        pytest.param(40, 0, id="past"),
        pytest.param(-2 * HOUR, 30, id="set-back"),
        pytest.param(2 * HOUR, 0, id="set-forward"),
    ],
)
def test_the_first_probe_waits_for_its_delay_at_most(age: float, seconds: float) -> None:
    probe = Probe(initial_delay_seconds=30)

    assert initial(probe, ago(age), NOW) == seconds
    assert initial(probe, None, NOW) == 30


def test_the_first_probe_is_at_once_without_a_delay() -> None:
    assert initial(Probe(), ago(-HOUR), NOW) == 0


def test_a_log_is_set_aside_after_those_before_it_and_the_oldest_go_first() -> None:
    path = Path("/logs/0.log")
    older: list[Path] = []
    # The clock goes on, is set back by a day, stands still, is set forward.
    for seconds in (0, 10, -86400, -86390, -86390, 86400):
        older.append(name_aside(path, older, NOW + timedelta(seconds=seconds)))

    assert older == sorted(set(older)), "as they were written"
    assert surplus(older, 2) == older[:-2]


def test_a_log_is_set_aside_after_a_packed_one_and_beside_strangers() -> None:
    path = Path("/logs/0.log")
    older = [Path("/logs/0.log.20270101-000000.gz"), Path("/logs/0.log.saved")]

    assert name_aside(path, older, NOW) == Path("/logs/0.log.20270101-000001")


class Server:
    """Gives tokens for an hour by its own clock, which nobody sets."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.given = 0
        self.away = False

    async def request(self, _method: str, _path: str, _body: Any) -> bytes:
        if self.away:
            raise ServiceUnavailable("cannot reach the API server")
        self.given += 1
        expires = (
            (NOW + timedelta(seconds=self.now - NOW.timestamp() + HOUR)).isoformat().replace("+00:00", "Z")
        )
        return (
            f'{{"spec": {{"audiences": [], "expirationSeconds": 3600}},'
            f'"status": {{"token": "t{self.given}", "expirationTimestamp": "{expires}"}}}}'
        ).encode()


class Clocks:
    """The server's, and ours, which is off by so many seconds and may be set."""

    def __init__(self, off: float = 0) -> None:
        self.server = Server()
        self.off = off
        self.objects = ApiObjects(
            cast("Verbs", self.server), lambda: self.server.now - 5e8, lambda: self.server.now + self.off
        )

    async def token(self) -> str:
        return await self.objects.token(
            pod(meta={"generation": 1}), ServiceAccountTokenProjection(path="token")
        )

    def passes(self, seconds: float) -> None:
        self.server.now += seconds


@pytest.mark.parametrize("off", [0.0, -5 * HOUR, -0.5 * HOUR])
async def test_a_token_is_new_in_time_by_any_clock_that_is_late(off: float) -> None:
    clocks = Clocks(off)
    assert await clocks.token() == "t1"
    clocks.passes(0.7 * HOUR)
    assert await clocks.token() == "t1"
    clocks.passes(0.11 * HOUR)

    assert await clocks.token() == "t2"


@pytest.mark.parametrize("step", [-5 * HOUR, 5 * HOUR])
async def test_a_token_is_new_in_time_though_the_clock_was_set(step: float) -> None:
    clocks = Clocks()
    assert await clocks.token() == "t1"
    clocks.off = step
    clocks.passes(0.81 * HOUR)

    assert await clocks.token() == "t2"


async def test_a_token_that_expired_while_the_server_was_away_is_told_and_made_new_when_it_is_back() -> None:
    clocks = Clocks()
    await clocks.token()
    clocks.server.away = True
    clocks.passes(0.9 * HOUR)
    assert await clocks.token() == "t1", "as long as it lasts"
    clocks.passes(0.2 * HOUR)
    with pytest.raises(CannotMount, match="failed to fetch token"):
        await clocks.token()
    clocks.server.away = False

    assert await clocks.token() == "t2"


def test_a_token_of_years_is_new_every_day() -> None:
    token = Token("t", 1e9, 1e9, 0, 0)

    assert not token.due(86399, 86399)
    assert token.due(86400, 86400)


def test_rates_go_on_after_the_clock_was_set_back() -> None:
    here = SimpleNamespace(runtime=None, volumes=None)
    measure = Measure(cast("Surroundings", here), lambda: ())
    rated = measure._rated
    rated("c", Cpu(10_000.0, 0))
    assert rated("c", Cpu(10_010.0, 10_000_000_000)).rate == 1_000_000_000

    first = rated("c", Cpu(5_000.0, 15_000_000_000))
    second = rated("c", Cpu(5_010.0, 25_000_000_000))

    assert first.rate is None, "nobody knows how long it took"
    assert second.rate == 1_000_000_000


def test_sizes_of_trees_are_taken_again_whatever_the_clock_says(tmp_path: Path) -> None:
    steady = 100.0
    here = SimpleNamespace(runtime=None, volumes=None)
    measure = Measure(cast("Surroundings", here), lambda: (), 60.0, lambda: steady)
    before = measure._tree(tmp_path).used
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    assert measure._tree(tmp_path).used == before
    steady += 61

    assert measure._tree(tmp_path).used >= before + 100_000


async def test_a_certificate_that_is_over_before_it_came_is_not_asked_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that is years ahead each new one is due at once."""
    signer = Signer(hours=0.5)

    async def sign(_client: Verbs, asked: bootstrap.Wanted) -> tuple[bytes, bytes]:
        return await bootstrap_certificate(cast("Verbs", signer), asked)

    bootstrap_certificate = bootstrap.certificate
    cert, key = await sign(cast("Verbs", None), bootstrap.Wanted("n1"))
    current = bootstrap.store(tmp_path, cert, key)
    monkeypatch.setattr(bootstrap, "certificate", sign)
    config = Config("https://127.0.0.1:1", cert_file=str(current), key_file=str(current))

    rotating = asyncio.create_task(bootstrap.rotate(Settings(), config, "n1"))
    async with asyncio.timeout(30):
        while len(signer.requests) < 2:
            await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rotating, 0.5)  # the next one would be asked for at once

    assert len(signer.requests) == 2
