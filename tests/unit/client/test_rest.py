"""The client against a real server on the loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kybern.api.core_v1 import Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.kubeconfig import Config
from kybern.client.rest import Client
from kybern.client.verbs import error_of
from kybern.daemon import tls
from kybern.machinery import errors


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "type": request.headers.get("Content-Type", ""),
            "authorization": request.headers.get("Authorization", ""),
            "body": (await request.read()).decode(),
        }
    )


async def slow(_request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def silent(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"one\n")
    await asyncio.sleep(60)
    return answer


async def refused(_request: web.Request) -> web.Response:
    return web.json_response(
        errors.Conflict("changed", errors.Details(name="x", kind="pods")).status(), status=409
    )


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_get("/slow", slow)
    app.router.add_get("/silent", silent)
    app.router.add_get("/refused", refused)
    app.router.add_route("*", "/{path:.*}", echo)
    running = TestServer(app)
    await running.start_server()
    yield running
    await running.close()


def config(server: TestServer, **more: str) -> Config:
    return Config(server=str(server.make_url("")).rstrip("/"), **more)  # type: ignore[arg-type]


async def test_a_token_in_a_file_is_read_again_when_it_changes(server: TestServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    times = count(step=60)
    async with Client(config(server, token_file=str(file)), lambda: next(times)) as client:
        before = json.loads(await client.request("GET", "/x"))
        file.with_suffix(".new").write_text("second\n")
        file.with_suffix(".new").replace(file)
        after = json.loads(await client.request("GET", "/x"))

    assert (before["authorization"], after["authorization"]) == ("Bearer first", "Bearer second")


async def test_answers_that_are_errors_are_raised_by_name(server: TestServer) -> None:
    async with Client(config(server)) as client:
        with pytest.raises(errors.Conflict, match="changed") as told:
            await client.request("GET", "/refused")

    assert told.value.details is not None
    assert told.value.details.name == "x"


async def test_too_late_an_answer_is_a_timeout(server: TestServer) -> None:
    async with Client(config(server)) as client:
        with pytest.raises(errors.Timeout):
            await client.request("GET", "/slow", timeout=0.05)


async def test_a_stream_that_falls_silent_is_a_timeout(server: TestServer) -> None:
    found: list[bytes] = []

    async def read(client: Client) -> None:
        async with client.stream("/silent", silence=0.1) as chunks:
            async for chunk in chunks:
                found.append(chunk)  # noqa: PERF401  # what came before the end is what is looked at

    async with Client(config(server)) as client:
        with pytest.raises(errors.Timeout):
            await read(client)

    assert found == [b"one\n"]


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with Client(Config(server="http://127.0.0.1:1")) as client:
        with pytest.raises(errors.ServiceUnavailable, match=r"cannot reach http://127\.0\.0\.1:1"):
            await client.request("GET", "/x")


async def test_a_server_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_get("/x", echo)
    cert, key = tls.self_signed(("127.0.0.1",), tmp_path / "theirs")
    ours, _ = tls.self_signed(("127.0.0.1",), tmp_path / "ours")
    server = TestServer(app)
    await server.start_server(ssl=tls.server_context(cert, key))
    url = f"https://127.0.0.1:{server.port}"

    async with Client(Config(server=url, ca_file=cert)) as client:
        assert json.loads(await client.request("GET", "/x"))["method"] == "GET"
    async with Client(Config(server=url, ca_file=ours)) as client:
        with pytest.raises(errors.ServiceUnavailable, match="cannot trust"):
            await client.request("GET", "/x")
    await server.close()


async def test_a_patch_sends_what_differs_and_the_version(server: TestServer) -> None:
    old = Pod(metadata=ObjectMeta(name="x", namespace="a", resource_version="7", labels={"a": "1", "b": "2"}))
    new = Pod(metadata=ObjectMeta(name="x", namespace="a", resource_version="7", labels={"a": "1"}))
    sent: list[dict[str, object]] = []

    class Listening(Client):
        async def request(self, *args: object, **options: object) -> bytes:
            answer = await super().request(*args, **options)  # type: ignore[arg-type]
            sent.append(json.loads(answer))
            return b"{}"

    async with Listening(config(server)) as client:
        await client.patch(old, new, "status")

    assert (sent[0]["method"], sent[0]["path"]) == ("PATCH", "/api/v1/namespaces/a/pods/x/status")
    assert sent[0]["type"] == "application/merge-patch+json"
    assert json.loads(str(sent[0]["body"])) == {"metadata": {"labels": {"b": None}, "resourceVersion": "7"}}


@pytest.mark.parametrize(
    ("code", "body", "kind", "says"),
    [
        (409, b'{"kind":"Status","reason":"AlreadyExists","message":"there"}', errors.AlreadyExists, "there"),
        (404, b"404 page not found", errors.NotFound, "the server could not find the requested resource"),
        (503, b"", errors.ServiceUnavailable, "the server answered 503"),
        (410, b'{"kind":"Status","reason":"Expired","message":"old"}', errors.Expired, "old"),
        (418, b"tea", errors.InternalError, "tea"),
    ],
)
def test_errors_by_their_status_or_by_their_code(
    code: int, body: bytes, kind: type[errors.ApiError], says: str
) -> None:
    found = error_of(code, body)

    assert type(found) is kind
    assert found.message == says
