"""``kybern machines netboot``: what it says to the server and what it waits for; machines exist only as answers."""

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from kybern.cli import netbooting as command
from kybern.machines import metal, state
from kybern.machines.errors import MachineError
from kybern.machines.netboot import partition
from kybern.machines.preflight import host as preflight
from kybern.machines.state import State
from kybern.netboot.seen import INSTALLED, INSTALLING, Seen, written
from kybern.reach.machines import Machines

TOPOLOGY = """\
cluster: racks
driver: none
network: 192.0.2.0/24
netboot: {server: 192.0.2.5}
machines:
  - {name: a, address: 192.0.2.11, roles: [etcd, control-plane], mac: "52:54:00:00:00:11"}
  - {name: b, address: 192.0.2.12, roles: [worker], mac: "52:54:00:00:00:12"}
  - {name: c, address: 192.0.2.13, roles: [worker]}
"""
SERVER_KEY = "192.0.2.5 ssh-ed25519 SSSS"
A, B = "ssh-ed25519 AAAA", "ssh-ed25519 BBBB"


class World:
    """A server that has seen something, and machines that answer."""

    def __init__(self) -> None:
        self.lets_in = True
        self.seen: list[Mapping[str, Seen]] = [{}]  # what is told, one look after the other; the last stays
        self.answering = {"a", "b"}
        self.deploys: list[tuple[tuple[str, ...], Mapping[str, str]]] = []

    async def run(self, machines: Machines, node: str, script: str, _seconds: float) -> str:
        if node != "netboot":
            return "there\n" if node in self.answering else ""
        if not self.lets_in:
            return ""
        if script.startswith("cat "):
            found = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
            return written({partition("racks", name): one for name, one in found.items()})
        return "there\n"

    def deploy(
        self, name: str, _cluster: Any, more: Sequence[str] = (), *, verb: str, extra: Mapping[str, str]
    ) -> int:
        assert (name, verb) == ("netboot", "netboot")
        self.deploys.append((tuple(more), extra))
        return 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    async def run(machines: Machines, node: str, script: str, seconds: float) -> str:
        return await made.run(machines, node, script, seconds)

    def recorded(kept: State, addresses: Sequence[IPv4Address], *, accept: bool) -> None:
        assert (list(map(str, addresses)), accept) == (["192.0.2.5"], True)
        if not kept.known_hosts.exists():
            kept.known_hosts.write_text(f"{SERVER_KEY}\n")

    monkeypatch.setenv("KYBERN_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(Machines, "run", run)
    monkeypatch.setattr(command, "run_deploy", made.deploy)
    monkeypatch.setattr(command, "record_host_keys", recorded)
    monkeypatch.setattr(preflight, "root", lambda: None)
    monkeypatch.setattr(metal, "build", lambda _say, _offered: None)
    monkeypatch.setattr(command, "BETWEEN", 0.0)
    kept = State.of("racks")
    state.ensure_key(kept.key, "racks")
    (tmp_path / "topology").mkdir()
    (tmp_path / "topology" / "racks.yaml").write_text(TOPOLOGY)
    return made


def netboot(tmp_path: Path, *, within: int = 60, **more: Any) -> None:
    given = {"reinstall": None, "key": None, "accept": True, "off": False, **more}
    command.netboot(str(tmp_path / "topology" / "racks.yaml"), within=within, **given)


def test_it_waits_until_all_are_installed_and_records_their_keys(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"a": Seen(INSTALLED, "is installed", 1.0, host_key=A), "b": Seen(INSTALLING, "writes", 1.0)}
    world.seen = [{}, one, {**one, "b": Seen(INSTALLED, "is installed", 2.0, host_key=B)}]

    netboot(tmp_path)

    assert State.of("racks").known_hosts.read_text().splitlines() == [
        SERVER_KEY,
        f"192.0.2.11,a {A}",
        f"192.0.2.12,b {B}",
    ]
    said = capsys.readouterr()
    assert "192.0.2.5 installs a, b as soon as they boot over the network." in said.out
    assert "2 machines of racks answer by SSH" in said.out
    assert "b: installing: writes" in said.err
    assert "HostName 192.0.2.11" in State.of("racks").ssh_config.read_text()
    assert f'inventory("{tmp_path}/topology/racks.yaml")' in (tmp_path / "racks.py").read_text()


def test_a_machine_that_does_not_come_is_named_with_what_was_last_heard_of_it(
    world: World, tmp_path: Path
) -> None:
    world.seen = [{"a": Seen(INSTALLING, "makes the boot loader", 1.0)}]

    with pytest.raises(MachineError) as told:
        netboot(tmp_path, within=1)

    assert "2 of 2 machines do not answer within 1 s; run the same command again to wait on" in str(
        told.value
    )
    assert "minutes ago: installing, makes the boot loader" in str(told.value)
    assert "b was never heard of" in str(told.value)


def test_a_machine_that_is_installed_and_silent_is_named(world: World, tmp_path: Path) -> None:
    world.seen = [{name: Seen(INSTALLED, "is installed", 1.0, host_key=A) for name in ("a", "b")}]
    world.answering = {"a"}

    with pytest.raises(MachineError, match=r"b is installed and does not answer by SSH at 192\.0\.2\.12"):
        netboot(tmp_path, within=1)


def test_without_waiting_the_server_is_set_up_and_that_is_all(world: World, tmp_path: Path) -> None:
    netboot(tmp_path, within=0)

    ((more, extra),) = world.deploys
    assert more == ()
    assert extra["KYBERN_TOPOLOGY"] == str(tmp_path / "topology" / "racks.yaml")


def test_an_order_is_told_and_waited_for_and_explains_another_key(world: World, tmp_path: Path) -> None:
    kept = State.of("racks")
    kept.known_hosts.write_text(f"{SERVER_KEY}\n192.0.2.11,a {A}\n192.0.2.12,b {B}\n")
    netboot(tmp_path, within=0, reinstall=["a"])
    ((more, _),) = world.deploys
    words = dict(word.split("=", 1) for word in more if "=" in word)
    assert words["reinstall"] == "a"

    old = Seen(INSTALLED, "starts from its disk", 1.0, host_key=A)
    world.seen = [{"a": old}]
    with pytest.raises(MachineError, match="a: last heard of"):
        netboot(tmp_path, within=1, reinstall=["a"])

    world.seen = [
        {"a": Seen(INSTALLED, "is installed", 2.0, order=words["order"], host_key="ssh-ed25519 NEW")}
    ]
    netboot(tmp_path)
    assert "192.0.2.11,a ssh-ed25519 NEW" in kept.known_hosts.read_text()


def test_another_key_that_nobody_ordered_is_refused(world: World, tmp_path: Path) -> None:
    kept = State.of("racks")
    kept.known_hosts.write_text(f"{SERVER_KEY}\n192.0.2.11,a {A}\n")
    world.seen = [{"a": Seen(INSTALLED, "is installed", 2.0, host_key=B)}]

    with pytest.raises(MachineError, match="a has made itself another host key than the one recorded"):
        netboot(tmp_path)
    assert B not in kept.known_hosts.read_text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x", 'cluster racks has no machine "x"; it has a, b, c'),
        ("c", 'cannot install c anew: it has no "mac"'),
    ],
)
def test_who_cannot_be_installed_anew_is_told_before_anything_is_done(
    world: World, tmp_path: Path, name: str, told: str
) -> None:
    with pytest.raises(MachineError, match=told):
        netboot(tmp_path, reinstall=["a", name])
    assert world.deploys == []


def test_a_server_that_lets_nobody_in_is_told_with_what_to_do(world: World, tmp_path: Path) -> None:
    world.lets_in = False
    with pytest.raises(
        MachineError, match=r"cannot log in to netboot's server 192\.0\.2\.5 as root.*id_ed25519\.pub"
    ):
        netboot(tmp_path)
    assert world.deploys == []


def test_what_the_server_has_seen_and_cannot_be_read_is_an_error(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(_machines: Machines, _node: str, script: str, _seconds: float) -> str:
        return json.dumps({"a": {"colour": "red"}}) if script.startswith("cat ") else "there"

    monkeypatch.setattr(Machines, "run", run)
    with pytest.raises(MachineError, match=r"cannot read /var/lib/kybern-netboot/seen\.json"):
        netboot(tmp_path)


def test_switching_off_deploys_that_and_waits_for_nobody(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    netboot(tmp_path, off=True)

    ((more, _),) = world.deploys
    assert more == ("--data", "off=yes")
    assert "installs nobody any more" in capsys.readouterr().out
