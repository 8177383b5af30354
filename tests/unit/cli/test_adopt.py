"""``kybern adopt``: what it writes and what it refuses to, with machines that exist only as answers."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from kybern.cli import adopt as command
from kybern.machines.adopting import Found, HostKey
from kybern.machines.errors import MachineError
from kybern.machines.load import load
from kybern.machines.preflight.record import Facts
from kybern.machines.state import State
from kybern.machines.topology import Cluster
from tests.unit.machines.preflight.test_checks import WELL

BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
OTHER = BLOB.replace("Ea", "Eb")


class World:
    """Machines 192.0.2.N are called hostN; ``keys`` are what they show, ``wrong`` what preflight finds at them."""

    def __init__(self) -> None:
        self.keys = dict.fromkeys((f"192.0.2.{at}" for at in range(11, 15)), BLOB)
        self.wrong: Mapping[str, str] = {}
        self.asked: list[str] = []

    async def shown(self, addresses: Sequence[str]) -> Mapping[str, HostKey]:
        self.asked += addresses
        return {
            each: HostKey(each, "ssh-ed25519", self.keys[each]) for each in addresses if each in self.keys
        }

    async def facts(
        self, _name: str, _user: str, addresses: Sequence[IPv4Address]
    ) -> Mapping[IPv4Address, Found]:
        return {
            each: Found(
                f"host{str(each)[-2:]}", (IPv4Interface(f"{each}/24"),), (IPv4Address("192.0.2.254"),)
            )
            for each in addresses
        }

    async def look(self, cluster: Cluster) -> Mapping[str, Facts]:
        found = {}
        for machine in cluster.machines:
            own = {
                "hostname": machine.name,
                "machine-id": machine.name,
                "macs": f"52:54:00:00:00:{str(machine.address)[-2:]}",
                "addresses": f"{machine.address}/24",
                "vip": "near",
            }
            found[machine.name] = Facts({**WELL, **own, **self.wrong}, 1000.0, 1001.0)
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(command, "shown", found.shown)
    monkeypatch.setattr(command, "_facts", found.facts)
    monkeypatch.setattr(command, "look", found.look)
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    return found


def adopt(*hosts: str, **more: object) -> None:
    given: dict[str, object] = {"key": Path("key"), "accept": True, **more}
    values = dict.fromkeys(("masters", "master", "worker", "vip", "network", "user"), None) | given
    command.adopt("mine", list(hosts), **values)  # type: ignore[arg-type]  # typer's own types


FILE = Path("inventories/topology/mine.yaml")


def test_machines_become_a_topology_an_inventory_and_what_ssh_needs(world: World) -> None:
    adopt("192.0.2.11", "db=192.0.2.12", user="ann")

    cluster = load(FILE)
    assert [(one.name, str(one.address), sorted(one.roles)) for one in cluster.machines] == [
        ("host11", "192.0.2.11", ["control-plane", "etcd"]),
        ("db", "192.0.2.12", ["worker"]),
    ]
    assert (cluster.driver, cluster.ssh_user, str(cluster.gateway)) == ("none", "ann", "192.0.2.254")
    assert 'inventory("mine")' in Path("inventories/mine.py").read_text()
    state = State.of("mine")
    assert state.known_hosts.read_text() == "".join(f"192.0.2.{at} ssh-ed25519 {BLOB}\n" for at in (11, 12))
    assert state.key.stat().st_mode & 0o777 == 0o600
    assert "Host db\n    HostName 192.0.2.12\n" in state.ssh_config.read_text()
    assert "    User ann\n" in state.ssh_config.read_text()


def test_a_second_run_changes_nothing_and_asks_nobody(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt("192.0.2.11", "192.0.2.12")
    text, asked = FILE.read_text(), len(world.asked)

    adopt("192.0.2.11", "192.0.2.12")

    assert (FILE.read_text(), len(world.asked)) == (text, asked)
    assert "nothing changed" in capsys.readouterr().out


def test_one_more_machine_is_added_and_what_was_changed_by_hand_stays(world: World) -> None:
    adopt("192.0.2.11", "192.0.2.12")
    FILE.write_text(FILE.read_text().replace("machines:", "proxy: nftables  # ours\nmachines:"))

    adopt("192.0.2.13")

    cluster = load(FILE)
    assert "proxy: nftables  # ours" in FILE.read_text()
    assert [one.name for one in cluster.machines] == ["host11", "host12", "host13"]
    assert not cluster.machines[2].is_master


def test_several_masters_need_an_address(world: World) -> None:
    with pytest.raises(MachineError, match="say --vip ADDRESS, or --masters 1"):
        adopt("192.0.2.11", "192.0.2.12", "192.0.2.13")
    assert not FILE.exists()

    adopt("192.0.2.11", "192.0.2.12", "192.0.2.13", vip="192.0.2.10")

    assert [len(load(FILE).masters), len(load(FILE).workers)] == [3, 3]


@pytest.mark.parametrize(
    ("wrong", "given", "says"),
    [
        ({}, {"user": "bob"}, "--user is bob"),
        ({}, {"vip": "192.0.2.9"}, "--vip is 192.0.2.9"),
        ({}, {"worker": ["192.0.2.11"]}, "host11 of mine is a master"),
        ({}, {"master": ["192.0.2.13"]}, "2 etcd members"),
        ({}, {"worker": ["192.0.2.99"]}, "no answer by SSH from 192.0.2.99"),
        ({}, {"masters": 1}, "--masters is for hosts in a row of a new cluster"),
        ({"firewalls": "active ufw"}, {"worker": ["192.0.2.13"]}, "mend the failures above"),
    ],
)
def test_what_is_there_is_never_overwritten_by_another(
    world: World, wrong: Mapping[str, str], given: Mapping[str, object], says: str
) -> None:
    adopt("192.0.2.11")
    text = FILE.read_text()
    world.wrong = wrong

    with pytest.raises(MachineError, match=says):
        adopt(*([] if {"worker", "master"} & set(given) else ["192.0.2.12"]), **given)

    assert FILE.read_text() == text


def test_an_unknown_host_key_is_told_and_not_trusted(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody is there to be asked

    with pytest.raises(MachineError, match="these host keys are not known"):
        adopt("192.0.2.11", accept=False)

    assert "192.0.2.11 shows ssh-ed25519 SHA256:" in capsys.readouterr().out
    assert not State.of("mine").known_hosts.exists()
    assert not FILE.exists()


def test_an_exchanged_host_key_is_refused_even_when_all_are_accepted(world: World) -> None:
    state = State.of("mine")
    state.directory.mkdir(parents=True)
    state.known_hosts.write_text(f"192.0.2.11 ssh-ed25519 {OTHER}\n")

    with pytest.raises(MachineError, match="shows another host key"):
        adopt("192.0.2.11")

    assert state.known_hosts.read_text() == f"192.0.2.11 ssh-ed25519 {OTHER}\n"


def test_another_key_does_not_replace_the_cluster_s(world: World) -> None:
    adopt("192.0.2.11")
    Path("other").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx")

    with pytest.raises(MachineError, match="is another key"):
        adopt("192.0.2.12", key=Path("other"))
    with pytest.raises(MachineError, match="cannot log in without a key"):
        command.take_key(replace(State.of("mine"), directory=Path("nowhere")), None)


@pytest.mark.parametrize(
    ("hosts", "given", "says"),
    [
        ([], {}, "nothing to adopt"),
        (["192.0.2.11", "192.0.2.11"], {}, "is given twice"),
        (["192.0.2.11"], {"worker": ["192.0.2.11"]}, "is given twice"),
        ([], {"worker": ["192.0.2.11"]}, "no master among them"),
        (["192.0.2.11"], {"vip": "10"}, "--vip: "),
        (["192.0.2.11"], {"network": "198.51.100.0/24"}, "outside the network"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    world: World, hosts: list[str], given: Mapping[str, object], says: str
) -> None:
    with pytest.raises(MachineError, match=says):
        adopt(*hosts, **given)

    assert not FILE.exists()
