"""The file of keys that API servers read: what a cluster begins with, and that it is read back."""

import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kybern.machines.certificates import Keep
from kybern.machines.encryption import FILE, IDENTITY, KMS, PLAIN, PROVIDERS, content, first, new_key, order
from kybern.machines.errors import MachineError
from kybern.storage.encryption.configuration import parse
from tests.unit.machines.test_certificates import CLUSTER, MASTER

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_api_server_reads_what_is_written_here(provider: str) -> None:
    keys = first(provider, used=False)
    keys = (new_key(provider, keys), *keys)

    assert order(content(keys)) == keys
    assert [step.prefix.decode() for step in parse(content(keys)).rule("", "secrets")] == [
        f"k8s:enc:{provider}:v1:key-2:",
        f"k8s:enc:{provider}:v1:key-1:",
        "",
    ]


def test_a_key_management_service_keeps_its_keys_to_itself() -> None:
    keys = (*first(KMS, used=False, endpoint="unix:///run/kms/a.sock"),)
    keys = (new_key(KMS, keys, endpoint="unix:///run/kms/b.sock"), new_key("aesgcm", ()), *keys)
    found = parse(content(keys))

    assert order(content(keys)) == keys
    assert [step.prefix.decode() for step in found.rule("", "secrets")] == [key.prefix for key in keys]
    assert [(kms.setting.name, kms.setting.endpoint) for kms in found.services] == [
        ("key-2", "unix:///run/kms/b.sock"),
        ("key-1", "unix:///run/kms/a.sock"),
    ]
    assert keys[0].prefix == "k8s:enc:kms:v2:key-2:"
    assert keys[0].secret == ""


@pytest.mark.parametrize(("used", "sealed"), [(False, [KMS, IDENTITY]), (True, [IDENTITY, KMS])])
def test_the_service_of_the_topology_is_what_a_cluster_begins_with(
    tmp_path: Path, used: bool, sealed: list[str]
) -> None:
    keep = Keep(tmp_path, NOW)
    if used:
        keep.certificates(replace(CLUSTER, encryption="none"), MASTER)
    made = order(
        keep.certificates(replace(CLUSTER, encryption=KMS, kms="unix:///run/kms/a.sock"), MASTER).encryption
    )

    assert [key.provider for key in made] == sealed
    assert {key.endpoint for key in made if key.provider == KMS} == {"unix:///run/kms/a.sock"}


def test_a_key_is_not_shown() -> None:
    key = new_key("aesgcm", ())

    assert key.secret not in repr(key)


def test_a_cluster_that_is_in_use_gets_a_key_to_read_by_and_a_new_one_a_key_to_write_by(
    tmp_path: Path,
) -> None:
    new = Keep(tmp_path / "new", NOW).certificates(CLUSTER, MASTER)
    used = Keep(tmp_path / "used", NOW)
    used.certificates(replace(CLUSTER, encryption="none"), MASTER)
    later = used.certificates(CLUSTER, MASTER)

    assert [key.name for key in order(new.encryption)] == ["key-1", ""]
    assert [key.name for key in order(later.encryption)] == ["", "key-1"]
    assert stat.S_IMODE((tmp_path / "new" / FILE).stat().st_mode) == 0o600


def test_keys_are_made_once_and_stay_when_encryption_is_switched_off(tmp_path: Path) -> None:
    keep = Keep(tmp_path, NOW)
    made = keep.certificates(CLUSTER, MASTER).encryption

    assert keep.certificates(replace(CLUSTER, encryption="none"), MASTER).encryption == made
    assert Keep(tmp_path, NOW).certificates(CLUSTER, MASTER).encryption == made


def test_nothing_is_made_without_encryption(tmp_path: Path) -> None:
    given = Keep(tmp_path, NOW).certificates(replace(CLUSTER, encryption="none"), MASTER)

    assert given.encryption == b""
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", [b"{}", b"kind: EncryptionConfiguration", content((PLAIN,)) + b"\n"])
def test_a_file_of_somebody_else_is_left_to_them(text: bytes) -> None:
    with pytest.raises(MachineError, match="not as Kybern wrote it"):
        order(text)
