"""How a daemon tells how it is."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kybern.daemon.health import application

type Client = TestClient[web.Request, web.Application]


def broken() -> None:
    raise OSError("no etcd")


async def fine() -> None:
    return


@pytest.fixture
async def well() -> AsyncIterator[Client]:
    async with TestClient(TestServer(application({"fine": fine}))) as client:
        yield client


@pytest.fixture
async def ill() -> AsyncIterator[Client]:
    async with TestClient(TestServer(application({"fine": fine, "etcd": broken}))) as client:
        yield client


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/healthz/fine", "/readyz/ping"])
async def test_all_is_well(well: Client, path: str) -> None:
    answer = await well.get(path)

    assert (answer.status, await answer.text()) == (200, "ok")


async def test_each_check_is_listed_when_asked_for(well: Client) -> None:
    answer = await well.get("/readyz?verbose")

    assert await answer.text() == "[+]ping ok\n[+]fine ok\nreadyz check passed\n"


async def test_what_fails_is_named_but_not_why(ill: Client) -> None:
    answer = await ill.get("/readyz")

    assert answer.status == 500
    assert (
        await answer.text()
        == "[+]ping ok\n[+]fine ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"
    )


async def test_a_check_can_be_left_out(ill: Client) -> None:
    assert (await ill.get("/readyz?exclude=etcd")).status == 200


async def test_one_check_by_itself(ill: Client) -> None:
    assert (await ill.get("/healthz/etcd")).status == 500
    assert (await ill.get("/healthz/nope")).status == 404


async def test_metrics_are_guarded_and_health_is_not() -> None:
    async def guard(_request: web.Request) -> web.Response | None:
        return web.Response(status=401)

    async with TestClient(TestServer(application({}, guard))) as client:
        assert (await client.get("/metrics")).status == 401
        assert (await client.get("/healthz")).status == 200


async def test_metrics_are_in_the_form_that_prometheus_reads(well: Client) -> None:
    answer = await well.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "# TYPE" in await answer.text()
