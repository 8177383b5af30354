"""How a daemon tells how it is."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kybern.daemon.health import application, serve
from kybern.daemon.serving import known_clients
from kybern.daemon.zpages import Pages

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


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", ""])
async def test_all_addresses_are_those_of_both_families(bind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    serving = asyncio.create_task(serve(bind, port))
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(10):
            for address in ("127.0.0.1", "[::1]"):
                while True:
                    try:
                        async with session.get(f"http://{address}:{port}/healthz") as answer:
                            assert answer.status == 200
                            break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(0.01)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


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


async def test_what_cannot_be_left_out_is_named(well: Client) -> None:
    answer = await well.get("/readyz?verbose&exclude=nope&exclude=fine")

    warned = 'warn: some health checks cannot be excluded: no matches for "nope"'
    assert await answer.text() == f"[+]ping ok\n[+]fine excluded: ok\n{warned}\nreadyz check passed\n"


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


async def test_what_a_daemon_is_can_be_asked_where_it_has_pages() -> None:
    pages = Pages("kube-test", {"v": "2"})
    async with TestClient(TestServer(application({}, pages=pages))) as client:
        status = await client.get("/statusz")
        flags = await client.get("/flagz", headers={"Accept": "text/plain"})
        refused = await client.get("/flagz", headers={"Accept": "image/png"})

        assert (status.status, status.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert (await status.text()).startswith("\nkube-test statusz\n")
        assert (await flags.text()).endswith("\nv=2\n")
        assert refused.status == 406


async def test_nothing_is_said_where_there_are_no_pages(well: Client) -> None:
    assert (await well.get("/statusz")).status == 404


async def test_results_of_checks_are_counted(ill: Client) -> None:
    for _ in range(2):
        await ill.get("/livez")

    text = await (await ill.get("/metrics/slis")).text()

    assert 'kubernetes_healthcheck{name="etcd",type="livez"} 0.0' in text
    assert 'kubernetes_healthcheck{name="fine",type="livez"} 1.0' in text
    (line,) = (
        line
        for line in text.splitlines()
        if line.startswith('kubernetes_healthchecks_total{name="etcd",status="error",type="livez"}')
    )
    assert float(line.rpartition(" ")[2]) >= 2
    assert "apiserver_" not in text


async def test_all_but_health_is_for_who_is_known() -> None:
    app = application({}, known_clients(), pages=Pages("kube-test", {}))
    async with TestClient(TestServer(app)) as client:
        answers = [
            (await client.get(path)).status
            for path in ("/healthz", "/metrics", "/metrics/slis", "/flagz", "/statusz")
        ]

    assert answers == [200, 401, 401, 401, 401]


async def test_paths_that_are_always_allowed_are_for_anybody() -> None:
    app = application({}, known_clients(("/metrics", "/metrics/s*")))
    async with TestClient(TestServer(app)) as client:
        answers = [(await client.get(path)).status for path in ("/metrics", "/metrics/slis", "/flagz")]

    assert answers == [200, 200, 401]
