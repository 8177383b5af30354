"""An extender behind TLS, as its entry in the configuration file says."""

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kybern.daemon import self_signed
from kybern.scheduler import extenders
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.extender import Extender, Settings
from tests.unit.scheduler.making import pod


def read(**entry: Any) -> tuple[Settings, list[str]]:
    given = Arguments({"extenders": [{"bindVerb": "bind", **entry}]}, "")
    (found,) = extenders.read(given.children("extenders"))
    return found, [cause.line() for cause in given.problems()]


def b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return self_signed.pair(["extender.test"])


async def bound(entry: dict[str, Any], pair: tuple[bytes, bytes], directory: Path) -> str:
    """What a server says that has this certificate and asks for one."""
    found = directory / "pair.pem"
    found.write_bytes(b"\n".join(pair))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(found)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=pair[0].decode())

    async def answer(request: web.Request) -> web.Response:
        shown = request.transport.get_extra_info("peercert") if request.transport else None
        return web.json_response({"Error": "shown" if shown else "nothing shown"})

    app = web.Application()
    app.router.add_post("/bind", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    settings, wrong = read(urlPrefix=f"https://127.0.0.1:{runner.addresses[0][1]}", **entry)
    assert wrong == []
    try:
        async with Extender(settings) as extender:
            return await extender.bind(pod("p"), "n")
    finally:
        await runner.cleanup()


async def test_with_https_and_no_authority_any_server_will_do(
    pair: tuple[bytes, bytes], tmp_path: Path
) -> None:
    assert await bound({"enableHTTPS": True}, pair, tmp_path) == "nothing shown"


async def test_with_an_authority_the_server_must_bear_the_name(
    pair: tuple[bytes, bytes], tmp_path: Path
) -> None:
    authority = {"caData": b64(pair[0])}

    named = {"enableHTTPS": True, "tlsConfig": {**authority, "serverName": "extender.test"}}
    assert await bound(named, pair, tmp_path) == "nothing shown"
    assert "cannot ask" in await bound({"enableHTTPS": True, "tlsConfig": authority}, pair, tmp_path)


async def test_a_server_of_another_authority_is_refused(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    other = self_signed.pair(["extender.test"])[0]
    entry = {"enableHTTPS": True, "tlsConfig": {"caData": b64(other), "serverName": "extender.test"}}

    assert "certificate" in await bound(entry, pair, tmp_path)


def test_an_authority_and_carelessness_exclude_each_other(pair: tuple[bytes, bytes]) -> None:
    _, wrong = read(urlPrefix="https://x", tlsConfig={"insecure": True, "caData": b64(pair[0])})

    assert wrong == [
        "extenders[0].tlsConfig: specifying a root certificates file with the insecure flag is not allowed"
    ]


@pytest.mark.parametrize(
    ("tls", "line"),
    [
        ({"caData": "%"}, 'extenders[0].tlsConfig.caData: Invalid value: "***": must be PEM in base64'),
        ({"caFile": "/not/there"}, "extenders[0].tlsConfig: cannot be used"),
        ({"certFile": "/not/there"}, "extenders[0].tlsConfig: cannot be used"),
        ({"name": "x"}, 'unknown field "extenders[0].tlsConfig.name"'),
    ],
)
def test_what_cannot_be_used_is_named(tls: dict[str, Any], line: str) -> None:
    _, wrong = read(urlPrefix="https://x", enableHTTPS=True, tlsConfig=tls)

    assert any(each.startswith(line) for each in wrong)


def test_plain_http_has_no_tls() -> None:
    found, wrong = read(urlPrefix="http://x")

    assert (found.tls, wrong) == (None, [])


async def test_a_certificate_is_shown(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    own = {"certData": b64(pair[0]), "keyData": b64(pair[1])}

    # It is one for servers, so the other side refuses it: which shows that it was sent.
    assert await bound({"enableHTTPS": True, "tlsConfig": own}, pair, tmp_path) != "nothing shown"
