import stat
from pathlib import Path

import pytest

from kybern.machines import state
from kybern.machines.state import State
from kybern.machines.topology import Cluster


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> State:
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path / "home"))
    made = State.of(cluster.name)
    state.prepare(cluster, made)
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_operator_may_read_keys(kept: State) -> None:
    assert mode(kept.directory) == 0o700
    assert mode(kept.key) == 0o600
    assert mode(kept.host_key("master-1")) == 0o600


def test_known_hosts_has_the_key_that_the_machine_gets(kept: State, cluster: Cluster) -> None:
    files = {each.path: each for each in state.settings(cluster, cluster.machines[0], "0" * 32, kept)}

    kind, key = files["etc/ssh/ssh_host_ed25519_key.pub"].content.decode().split()[:2]
    assert f"10.9.0.11,master-1 {kind} {key}\n" in kept.known_hosts.read_text()
    assert files["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert files["root/.ssh/authorized_keys"].content == kept.key.with_suffix(".pub").read_bytes()
    assert files["etc/hostname"].content == b"master-1\n"


def test_a_second_run_keeps_every_key(kept: State, cluster: Cluster) -> None:
    before = {path: path.read_bytes() for path in kept.directory.rglob("*") if path.is_file()}

    state.prepare(cluster, kept)

    assert {path: path.read_bytes() for path in kept.directory.rglob("*") if path.is_file()} == before


def test_ssh_config_trusts_nothing_but_our_keys(kept: State) -> None:
    text = kept.ssh_config.read_text()

    assert "Host master-1\n    HostName 10.9.0.11\n" in text
    assert f"    IdentityFile {kept.key}\n" in text
    assert "    StrictHostKeyChecking yes\n" in text


def test_a_resolver_that_only_the_host_reaches_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("search a\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n")

    assert state.resolvers(tmp_path / "r") == "nameserver 192.0.2.53\n"
    assert state.resolvers(tmp_path / "none") == ""


def test_the_state_lies_in_the_repository_one_works_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KYBERN_STATE", raising=False)
    (tmp_path / "config.py").touch()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")

    assert state.home() == tmp_path / ".kybern"
