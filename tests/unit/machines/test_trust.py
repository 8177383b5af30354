"""An authority is exchanged by files alone, and whatever was interrupted, somebody signs and is trusted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kybern.auth.x509 import Authority, Pair
from kybern.machines import secret_files, trust
from kybern.machines.certificates import Keep
from kybern.machines.trust import Stage, Trust
from tests.unit.machines.test_certificates import CLUSTER, MASTER

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW = Pair(b"old cert\n", b"old key"), Pair(b"new cert\n", b"new key")


class Killed(Exception):
    pass


@contextmanager
def killed_after(monkeypatch: pytest.MonkeyPatch, count: int) -> Iterator[None]:
    """The process ends before its next change of a file once it has made this many."""
    left = [count]
    unlink = Path.unlink

    def step() -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1

    def writes(path: Path, content: bytes) -> None:
        step()
        beside = path.with_name("beside")
        beside.write_bytes(content)
        beside.rename(path)

    def unlinks(self: Path, missing_ok: bool = False) -> None:  # as pathlib has it
        step()
        unlink(self, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(secret_files, "write_secret", writes)
        patched.setattr(trust, "write_secret", writes)
        patched.setattr(Path, "unlink", unlinks)
        yield


@pytest.fixture
def found(tmp_path: Path) -> Trust:
    secret_files.write_pair(tmp_path, "ca", OLD)
    return Trust(tmp_path, "ca")


def test_the_way_of_a_rotation(found: Trust) -> None:
    seen = [(found.stage, found.signer(), found.trusted())]
    steps: tuple[Callable[[], None], ...] = (lambda: found.add(NEW), found.turn, found.drop)
    for step in steps:
        step()
        seen.append((found.stage, found.signer(), found.trusted()))

    both = OLD.cert_pem + NEW.cert_pem
    assert seen == [
        (Stage.REST, OLD, OLD.cert_pem),
        (Stage.ADDED, OLD, both),
        (Stage.TURNED, NEW, both),
        (Stage.REST, NEW, NEW.cert_pem),
    ]
    assert sorted(path.name for path in found.folder.iterdir()) == ["ca.crt", "ca.key"]


@pytest.mark.parametrize("count", range(9))
def test_killed_anywhere_it_signs_with_what_is_trusted_and_goes_on(
    found: Trust, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    try:
        with killed_after(monkeypatch, count):
            found.add(NEW)
            found.turn()
            found.drop()
    except Killed:
        pass

    signer = found.signer()
    assert signer in (OLD, NEW)
    assert signer.cert_pem in found.trusted()
    if found.stage is Stage.REST and signer == OLD:
        found.add(NEW)
    if found.stage is Stage.ADDED:
        found.turn()
    if found.stage is Stage.TURNED:
        found.turn()
        found.drop()
    assert (found.stage, found.signer(), found.trusted()) == (Stage.REST, NEW, NEW.cert_pem)


def test_machines_are_given_both_and_what_the_new_one_signed(tmp_path: Path) -> None:
    keep = Keep(tmp_path, NOW)
    before = keep.certificates(CLUSTER, MASTER)
    ca = Trust(tmp_path, "ca")
    ca.add(keep.new_authority("ca").pair)
    added = keep.certificates(CLUSTER, MASTER)
    ca.turn()
    turned = keep.certificates(CLUSTER, MASTER)

    assert added.pairs == before.pairs
    assert added.authorities["ca"].startswith(before.authorities["ca"])
    assert turned.authorities == added.authorities
    signer = ca.signer()
    assert signer is not None
    new = Authority.load(signer.cert_pem, signer.key_pem)
    assert new.issued(x509.load_pem_x509_certificate(turned.pairs["apiserver"].cert_pem))
    assert turned.pairs["etcd/server"] == before.pairs["etcd/server"]
    assert keep.admin(CLUSTER)[0] == turned.authorities["ca"]


def test_tokens_are_verified_by_both_and_signed_by_one(tmp_path: Path) -> None:
    keep = Keep(tmp_path, NOW)
    before = keep.certificates(CLUSTER, MASTER).tokens
    keys = Trust(tmp_path, "sa", ".pub")
    keys.add(NEW)
    keys.turn()
    after = keep.certificates(CLUSTER, MASTER).tokens

    assert after == Pair(before.cert_pem + NEW.cert_pem, NEW.key_pem)
    assert abs(keys.turned_at() - datetime.now(UTC).timestamp()) < timedelta(minutes=5).total_seconds()


def test_nobody_signs_before_the_first_deploy(tmp_path: Path) -> None:
    assert Trust(tmp_path, "ca").signer() is None
    with pytest.raises(FileNotFoundError):
        Trust(tmp_path, "ca").trusted()
