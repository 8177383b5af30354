"""Who the kubelet is at its start and while it runs: a certificate that ended is asked for with the bootstrap identity."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kybern.auth.x509 import Authority, Leaf
from kybern.client import kubeconfig
from kybern.client.kubeconfig import Config
from kybern.client.verbs import Verbs
from kybern.kubelet import bootstrap, certificate_metrics
from kybern.kubelet.bootstrap import Wanted, certificate, due, store, usable
from kybern.kubelet.identity import identity
from kybern.kubelet.settings import Settings
from kybern.machinery.errors import ServiceUnavailable
from tests.unit.kubelet.test_serving_certificate import Signer

BOOTSTRAP = "https://bootstrap:1"
SERVER = "https://127.0.0.1:1"


class Place:
    """A kubelet's directory, with a bootstrap kubeconfig."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.settings = Settings(
            kubeconfig=str(at / "kubelet.conf"), bootstrap_kubeconfig=str(at / "bootstrap.conf"),
            cert_dir=str(at / "pki"), hostname_override="n1",
        )  # fmt: skip
        Path(self.settings.bootstrap_kubeconfig).write_bytes(
            kubeconfig.dump(Config(BOOTSTRAP, token="a.b"), name="default").encode()
        )

    def joined(self, ends: timedelta) -> Path:
        """It got a certificate a day ago, which ends then."""
        now = datetime.now(UTC)
        authority = Authority.create("ca", now=now - timedelta(days=2))
        whole = timedelta(days=1) + ends
        pair = authority.issue_leaf(
            Leaf("system:node:n1", ("system:nodes",), days=whole / timedelta(days=1)),
            now=now - timedelta(days=1),
        )
        current = store(Path(self.settings.cert_dir), pair.cert_pem, pair.key_pem)
        config = Config(SERVER, cert_file=str(current), key_file=str(current))
        Path(self.settings.kubeconfig).write_bytes(kubeconfig.dump(config, name="default").encode())
        return current


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """With which server's identity a certificate was asked for; each is signed at once."""
    found: list[str] = []

    class Named(Signer):
        def __init__(self, config: Config) -> None:
            super().__init__()
            self._config = config

        async def create(self, made: Any) -> Any:
            found.append(self._config.server)
            return await super().create(made)

    @asynccontextmanager
    async def client(config: Config) -> AsyncIterator[Named]:
        yield Named(config)

    monkeypatch.setattr(bootstrap, "Client", client)
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_without_a_kubeconfig_it_asks_and_writes_one(place: Place, asked: list[str]) -> None:
    async with identity(place.settings) as config:
        assert config is not None
        assert config.server == BOOTSTRAP
        assert Path(config.cert_file).name == "kubelet-client-current.pem"
        assert Path(config.cert_file).stat().st_mode & 0o777 == 0o600
        assert usable(place.settings.kubeconfig, datetime.now(UTC))

    assert asked == [BOOTSTRAP]


async def test_with_a_certificate_that_lasts_it_asks_for_nothing(place: Place, asked: list[str]) -> None:
    place.joined(timedelta(days=9))

    async with identity(place.settings) as config:
        assert config is not None
        assert config.server == SERVER

    assert asked == []


async def test_a_machine_that_was_off_for_long_joins_anew(place: Place, asked: list[str]) -> None:
    place.joined(timedelta(seconds=-1))

    async with identity(place.settings) as config:
        assert config is not None
        assert config.server == BOOTSTRAP
        assert usable(place.settings.kubeconfig, datetime.now(UTC))

    assert asked == [BOOTSTRAP]


@pytest.mark.parametrize("what", ["kubelet.conf", "pki/kubelet-client-current.pem"])
async def test_what_nobody_can_read_is_asked_for_anew(place: Place, asked: list[str], what: str) -> None:
    place.joined(timedelta(days=9))
    (place.at / what).write_bytes(b"{")

    async with identity(place.settings):
        assert usable(place.settings.kubeconfig, datetime.now(UTC))

    assert asked == [BOOTSTRAP]


async def test_one_that_is_due_is_asked_for_with_itself(place: Place, asked: list[str]) -> None:
    current = place.joined(timedelta(hours=1))

    async with identity(place.settings):
        await until(lambda: asked)
        await until(lambda: due(current.read_bytes(), 1.0) > datetime.now(UTC) + timedelta(hours=2))

    assert asked == [SERVER]


@pytest.mark.parametrize("lost", [False, True])
async def test_one_that_ended_while_it_ran_is_asked_for_with_the_bootstrap_identity(
    place: Place, asked: list[str], lost: bool
) -> None:
    """The clock was set forward, or no API server answered for so long; or somebody removed it."""
    current = place.joined(timedelta(seconds=-1))
    if lost:
        current.unlink()
    config = kubeconfig.load(place.settings.kubeconfig)

    rotating = asyncio.create_task(bootstrap.rotate(place.settings, config, "n1"))
    await until(lambda: asked and current.exists())
    await until(lambda: due(current.read_bytes(), 1.0) > datetime.now(UTC))
    await until(lambda: certificate_metrics.CLIENT_ENDS.at == due(current.read_bytes(), 1.0))
    rotating.cancel()
    await asyncio.wait({rotating})

    assert asked == [BOOTSTRAP]


async def test_a_request_is_waited_for_though_the_api_server_goes_away_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one would only stand beside it, and somebody has to approve of each by hand."""
    monkeypatch.setattr(bootstrap, "_POLL", 0.0)
    signer = Signer()
    answers: list[Any] = [ServiceUnavailable("cannot reach the API server")] * 3

    class Slow:
        async def create(self, made: Any) -> Any:
            answers.append(await signer.create(made))
            return made

        async def get(self, *_which: object) -> Any:
            found = answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

    client: Verbs = Slow()  # type: ignore[assignment]

    found, _key = await certificate(client, Wanted("n1"))

    assert b"BEGIN CERTIFICATE" in found
    assert len(signer.requests) == 1
