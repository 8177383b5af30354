"""What comes of a probe: redirects, probes that could not be made, and what is told."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kybern.api.core_v1 import ExecAction, HTTPGetAction, Probe
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.probes.prober import once, told
from kybern.kubelet.probes.target import Outcome, Target
from tests.unit.kubelet.making import container


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """Leads on: to itself, elsewhere, in a ring, and nowhere."""
    places = {
        "/here": "/end", "/elsewhere": "http://0.0.0.0/", "/ring": "/ring", "/gone": "/missing"
    }  # fmt: skip

    async def lead(request: web.Request) -> web.Response:
        if request.path == "/end":
            return web.Response(text="well")
        if request.path == "/nowhere":
            return web.Response(status=304)
        if request.path not in places:
            return web.Response(status=404)
        return web.Response(status=302, headers={"Location": places[request.path]}, text="Found")

    application = web.Application()
    application.router.add_get("/{any:.*}", lead)
    async with TestServer(application) as made:
        assert made.port is not None
        yield made.port


def target(runtime: object = None) -> Target:
    return Target(cast("Runtime", runtime), "id", container(), "127.0.0.1", 5.0)


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/here", Outcome(True)),
        ("/elsewhere", Outcome(True, "Probe terminated redirects, Response body: Found", warns=True)),
        ("/nowhere", Outcome(True, "Probe terminated redirects, Response body: ", warns=True)),
        ("/gone", Outcome(False, "HTTP probe failed with statuscode: 404")),
    ],
)
async def test_redirects_are_followed_on_the_same_host_and_told_where_they_lead_away(
    server: int, path: str, outcome: Outcome
) -> None:
    assert await once(Probe(http_get=HTTPGetAction(path=path, port=server)), target()) == outcome


async def test_a_ring_of_redirects_fails(server: int) -> None:
    found = await once(Probe(http_get=HTTPGetAction(path="/ring", port=server)), target())

    assert found == Outcome(False, f'Get "http://127.0.0.1:{server}/ring": stopped after 10 redirects')


class Fake:
    """A runtime that cannot execute anything for so many times."""

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.asked = 0

    async def execute(self, *_given: Any) -> tuple[int, bytes]:
        self.asked += 1
        if self.asked <= self.fails:
            raise RuntimeFailure("no such task")
        return 0, b""


@pytest.mark.parametrize(("fails", "ok", "asked"), [(0, True, 1), (2, True, 3), (3, None, 3)])
async def test_a_probe_that_could_not_be_made_is_tried_three_times(
    fails: int, ok: bool | None, asked: int
) -> None:
    runtime = Fake(fails)

    found = await once(Probe(exec=ExecAction(command=("true",))), target(runtime))

    assert (found.ok, runtime.asked) == (ok, asked)


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (Outcome(True, "elsewhere", warns=True), ("ProbeWarning", "Liveness probe warning: elsewhere")),
        (Outcome(False, "no"), ("Unhealthy", "Liveness probe failed: no")),
        (Outcome(None, "no"), ("Unhealthy", "Liveness probe errored and resulted in unknown state: no")),
    ],
)
def test_what_is_told_of_an_outcome(outcome: Outcome, event: tuple[str, str]) -> None:
    assert told("Liveness", outcome) == event
