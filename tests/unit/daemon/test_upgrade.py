"""Upgrades that are passed on: heads, refusals, and bytes both ways."""

import asyncio

import pytest

from kybern.daemon import upgrade


def test_an_upgrade_needs_both_headers() -> None:
    assert upgrade.wanted({"Connection": "keep-alive, Upgrade", "Upgrade": "SPDY/3.1"})
    assert not upgrade.wanted({"Connection": "Upgrade"})
    assert not upgrade.wanted({"Upgrade": "SPDY/3.1"})


def test_the_request_is_passed_on_without_what_is_the_clients() -> None:
    given = [
        ("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("Authorization", "Bearer secret"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"), ("X-Stream-Protocol-Version", "channel.k8s.io"),
        ("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io"),
    ]  # fmt: skip
    head = upgrade.request_head("POST", "/exec?command=ls", "node:10250", given).decode()
    assert head.startswith("POST /exec?command=ls HTTP/1.1\r\nHost: node:10250\r\n")
    assert head.count("X-Stream-Protocol-Version") == 2
    assert "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n" in head
    assert "ecret" not in head
    assert "c2VjcmV0" not in head
    assert head.endswith("Content-Length: 0\r\n\r\n")


def test_all_that_is_asked_is_passed_on_but_for_tokens() -> None:
    fields = (
        ("Upgrade", "echo"),
        ("X-Own", "1"),
        ("Host", "other"),
        ("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, chat"),
    )
    head = upgrade.Asked("GET", fields, "asked:1").head("/x?y").decode()
    assert head == (
        "GET /x?y HTTP/1.1\r\nHost: asked:1\r\nUpgrade: echo\r\nX-Own: 1\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )


def test_a_value_cannot_become_a_field_of_its_own() -> None:
    asked = upgrade.Asked("GET", (("X-Remote-User", "a\r\nX-Remote-Group: system:masters"),), "h")
    with pytest.raises(upgrade.Unreachable, match="X-Remote-User"):
        asked.head("/")


def test_what_is_no_http_is_no_answer() -> None:
    assert upgrade.parse(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") == (101, {"upgrade": "x"})
    with pytest.raises(upgrade.Unreachable):
        upgrade.parse(b"SSH-2.0\r\n\r\n")


async def _answering(answer: bytes) -> tuple[asyncio.Server, str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


async def test_a_refusal_keeps_its_status_and_text() -> None:
    server, url = await _answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
    async with server:
        with pytest.raises(upgrade.Refused) as refused:
            await upgrade.ask(url, "GET", (), None)
    assert (refused.value.status, refused.value.text) == (404, "none")


async def test_a_connection_that_ends_before_the_answer_is_unreachable() -> None:
    server, url = await _answering(b"HTTP/1.1 101")
    async with server:
        with pytest.raises(upgrade.Unreachable):
            await upgrade.ask(url, "GET", (), None)


async def test_bytes_after_the_answer_are_kept_for_the_client() -> None:
    server, url = await _answering(b"HTTP/1.1 101 x\r\n\r\nearly")
    async with server:
        answer = await upgrade.ask(url, "GET", (), None)
        assert answer.head == b"HTTP/1.1 101 x\r\n\r\n"
        assert await answer.end.body(5) == b"early"
        answer.end.abort()
