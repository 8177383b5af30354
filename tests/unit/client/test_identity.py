"""Certificates and tokens in files: others take over within a second, and no request looks at a file before that."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kybern.auth.x509 import Authority
from kybern.client.identity import LOOK_EVERY, Identity
from kybern.client.kubeconfig import Config, load
from kybern.machines.certificates import kubeconfig


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def written(path: Path, content: bytes) -> None:
    """In one step, as those do who rotate."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


class Pair:
    """Files of one authority, as a kubeconfig names them."""

    def __init__(self, place: Path) -> None:
        self.authority = Authority.create("test", datetime.now(UTC))
        self.cert, self.key, ca = place / "c.crt", place / "c.key", place / "ca.crt"
        ca.write_bytes(self.authority.cert_pem)
        self.rotate()
        self.config = Config(
            server="https://127.0.0.1:1", ca_file=str(ca), cert_file=str(self.cert), key_file=str(self.key)
        )

    def rotate(self) -> None:
        pair = self.authority.issue("somebody")
        written(self.cert, pair.cert_pem)
        written(self.key, pair.key_pem)


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were looked at."""
    seen: list[Path] = []
    real = Path.stat

    def stat(self: Path, **options: bool) -> object:
        seen.append(self)
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    return seen


def test_a_certificate_is_looked_at_once_a_second_and_then_taken_over(
    tmp_path: Path, stats: list[Path]
) -> None:
    clock, pair = Clock(), Pair(tmp_path)
    identity = Identity(pair.config, clock)
    first = identity.context()
    stats.clear()
    pair.rotate()

    for _ in range(100):
        assert identity.context() is first
    assert stats == []
    clock.now += LOOK_EVERY
    second = identity.context()
    assert second is not first
    assert isinstance(second, ssl.SSLContext)
    assert identity.context() is second
    assert len(stats) == 3


def test_an_unchanged_certificate_keeps_its_context(tmp_path: Path) -> None:
    clock, pair = Clock(), Pair(tmp_path)
    identity = Identity(pair.config, clock)
    first = identity.context()
    clock.now += 10 * LOOK_EVERY

    assert identity.context() is first


def test_half_written_files_leave_the_old_context_in_force_until_they_are_whole(tmp_path: Path) -> None:
    clock, pair = Clock(), Pair(tmp_path)
    identity = Identity(pair.config, clock)
    first = identity.context()
    good = pair.cert.read_bytes()
    written(pair.cert, b"half")
    clock.now += LOOK_EVERY
    assert identity.context() is first

    pair.cert.unlink()
    clock.now += LOOK_EVERY
    assert identity.context() is first

    written(pair.cert, good)
    clock.now += LOOK_EVERY
    assert identity.context() is not first


def test_files_that_are_missing_from_the_start_are_told_of_and_found_later(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    good = pair.cert.read_bytes()
    pair.cert.unlink()
    identity = Identity(pair.config, Clock())
    with pytest.raises(OSError, match="No such file"):
        identity.context()

    written(pair.cert, good)
    assert isinstance(identity.context(), ssl.SSLContext)


def test_a_token_is_taken_over_after_a_second(tmp_path: Path, stats: list[Path]) -> None:
    clock, file = Clock(), tmp_path / "token"
    file.write_text("first\n")
    identity = Identity(Config(server="http://x", token_file=str(file)), clock)
    assert identity.authorization() == "Bearer first"
    stats.clear()
    written(file, b"second\n")

    assert identity.authorization() == "Bearer first"
    assert stats == []
    clock.now += LOOK_EVERY
    assert identity.authorization() == "Bearer second"

    file.unlink()
    clock.now += LOOK_EVERY
    assert identity.authorization() == "Bearer second"


def test_names_and_passwords_are_told_as_the_protocol_wants() -> None:
    assert Identity(Config(server="http://x", username="a", password="b")).authorization() == "Basic YTpi"
    assert Identity(Config(server="http://x", token="t", username="a")).authorization() == "Bearer t"
    assert Identity(Config(server="http://x")).authorization() == ""


def test_certificates_inside_a_kubeconfig_are_followed_too(tmp_path: Path) -> None:
    authority, other = (Authority.create("test", datetime.now(UTC)) for _ in range(2))
    file, clock = tmp_path / "kubeconfig", Clock()
    written(
        file, kubeconfig("https://127.0.0.1:1", authority.cert_pem, authority.issue("somebody"), "a", "b")
    )
    identity = Identity(load(file), clock)
    first = identity.context()

    both = authority.cert_pem + other.cert_pem
    written(file, kubeconfig("https://127.0.0.1:1", both, other.issue("somebody"), "a", "b"))
    assert identity.context() is first
    clock.now += LOOK_EVERY
    second = identity.context()

    assert isinstance(first, ssl.SSLContext)
    assert isinstance(second, ssl.SSLContext)
    assert (len(first.get_ca_certs()), len(second.get_ca_certs())) == (1, 2)


def test_a_kubeconfig_that_is_spoilt_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    authority, file, clock = Authority.create("test", datetime.now(UTC)), tmp_path / "kubeconfig", Clock()
    written(
        file, kubeconfig("https://127.0.0.1:1", authority.cert_pem, authority.issue("somebody"), "a", "b")
    )
    identity = Identity(load(file), clock)
    first = identity.context()

    written(file, b"nonsense")
    clock.now += LOOK_EVERY
    assert identity.context() is first


def test_who_took_another_identity_keeps_it_and_follows_the_authority(tmp_path: Path) -> None:
    authority, file, clock = Authority.create("test", datetime.now(UTC)), tmp_path / "kubeconfig", Clock()
    written(
        file, kubeconfig("https://127.0.0.1:1", authority.cert_pem, authority.issue("somebody"), "a", "b")
    )
    account = replace(load(file), cert_data=b"", key_data=b"", token="t")  # no secret
    identity = Identity(account, clock)
    identity.context()

    both = authority.cert_pem + Authority.create("new", datetime.now(UTC)).cert_pem
    written(file, kubeconfig("https://127.0.0.1:1", both, authority.issue("somebody"), "a", "b"))
    clock.now += LOOK_EVERY
    context = identity.context()

    assert isinstance(context, ssl.SSLContext)
    assert len(context.get_ca_certs()) == 2
    assert identity.authorization() == "Bearer t"
