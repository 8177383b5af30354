"""Certificates that change while a server runs."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kybern.auth.x509 import Authority
from kybern.daemon import tls


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes | None:
    """A whole handshake in memory; gives the certificate that the client was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = server.wrap_bio(to_server, to_client, server_side=True)
    right = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(5):
        for side in (right, left):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return right.getpeercert(binary_form=True)


def test_new_certificate_is_presented_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_EVERY", 0.0)
    cert, key = tls.self_signed(("localhost",), tmp_path)
    server = tls.server_context(cert, key)
    before = shake(server, tls.client_context(Path(cert).read_bytes()))

    tls.self_signed(("localhost",), tmp_path)
    after = shake(server, tls.client_context(Path(cert).read_bytes()))

    assert before is not None
    assert after not in (before, None)


def test_broken_files_leave_the_old_certificate_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_EVERY", 0.0)
    cert, key = tls.self_signed(("localhost",), tmp_path)
    trusted = Path(cert).read_bytes()
    server = tls.server_context(cert, key)

    Path(cert).write_text("half a certif")

    assert shake(server, tls.client_context(trusted)) is not None


def test_key_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    _, key = tls.self_signed(("localhost",), tmp_path)

    assert Path(key).stat().st_mode & 0o777 == 0o600


def test_unknown_minimum_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="VersionTLS11"):
        tls.minimum_version("VersionTLS11")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ("ECDHE-RSA-AES128-GCM-SHA256",)),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", ("ECDHE-ECDSA-AES256-SHA",)),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", ("ECDHE-RSA-AES128-SHA256",)),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", ("ECDHE-RSA-CHACHA20-POLY1305",)),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", ("ECDHE-RSA-CHACHA20-POLY1305",)),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", ("AES256-GCM-SHA384",)),
        ("TLS_AES_128_GCM_SHA256", ()),
        ("AES128-SHA, TLS_CHACHA20_POLY1305_SHA256", ("AES128-SHA",)),
        ("", ()),
    ],
)
def test_cipher_suites_have_the_names_of_go_or_of_openssl(asked: str, names: tuple[str, ...]) -> None:
    assert tls.ciphers(asked) == names


def test_a_cipher_suite_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match='cipher suite "TLS_NOTHING" not supported'):
        tls.ciphers("TLS_NOTHING")


async def turns() -> None:
    """Everybody else has had the loop some times."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_client_shows_its_new_certificate_to_new_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_EVERY", 0.0)
    authority = Authority.create("test", datetime.now(UTC))
    ca, cert, key = tmp_path / "ca.crt", tmp_path / "client.crt", tmp_path / "client.key"
    server_cert, server_key = tmp_path / "server.crt", tmp_path / "server.key"

    def issued(cert: Path, key: Path, *, server: bool) -> None:
        pair = authority.issue("somebody", dns=("localhost",), client=not server, server=server)
        key.write_bytes(pair.key_pem)
        cert.write_bytes(pair.cert_pem)

    def shown() -> bytes | None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = tls.server_context(str(server_cert), str(server_key), str(ca))
        left = server.wrap_bio(to_server, to_client, server_side=True)
        right = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        for _ in range(5):
            for side in (right, left):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        return left.getpeercert(binary_form=True)

    ca.write_bytes(authority.cert_pem)
    issued(server_cert, server_key, server=True)
    issued(cert, key, server=False)
    client = tls.client_context(authority.cert_pem, str(cert), str(key))
    before = shown()
    following = asyncio.create_task(tls.follow(client, str(cert), str(key)))
    await turns()
    cert.write_text("half a certif")
    await turns()
    assert shown() == before
    issued(cert, key, server=False)
    await turns()
    after = shown()
    following.cancel()

    assert after not in (before, None)
