"""The connector: fast, strict, closed when done, and harmless to runs that do not use it."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra import logger
from pyinfra.api import Config, HiddenValue, Inventory, State, StringCommand
from pyinfra.api.exceptions import InventoryError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

from kybern.cli.deploys import inventory_of
from kybern.machines import connector
from kybern.machines.connector import LibvirtConnector, MachineConnector, discover, tune
from kybern.machines.inventory import inventory
from kybern.machines.load import load
from kybern.machines.state import State as Kept

TOPOLOGY = """
cluster: some
network: 10.9.0.0/24
vip: 10.9.0.10
machines:
  - {name: m1, address: 10.9.0.11, roles: [etcd, control-plane]}
  - {name: m2, address: 10.9.0.12, roles: [etcd, control-plane]}
  - {name: m3, address: 10.9.0.13, roles: [etcd, control-plane]}
  - {name: w1, address: 10.9.0.21, roles: [worker]}
"""


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "inventories" / "topology"
    folder.mkdir(parents=True)
    (folder / "some.yaml").write_text(TOPOLOGY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path / "state"))
    return "some"


def running(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(connector, "discover", lambda _uri, _cluster: frozenset(names))


@pytest.mark.parametrize(("user", "becomes"), [("root", False), ("ann", True)])
def test_a_user_who_is_not_root_becomes_it_for_each_command(topology: str, user: str, becomes: bool) -> None:
    path = Path("inventories/topology/some.yaml")
    path.write_text(f"{TOPOLOGY}ssh_user: {user}\n")

    hosts = [data for group in inventory(topology) for _, data in group]

    assert {data["ssh_user"] for data in hosts} == {user}
    assert {data.get("_sudo", False) for data in hosts} == {becomes}


class Transport:
    """As much of paramiko's as is tuned."""

    def __init__(self, sock: object) -> None:
        self.sock, self.keepalive = sock, 0

    def set_keepalive(self, seconds: int) -> None:
        self.keepalive = seconds


def test_a_connection_answers_at_once_and_notices_a_dead_peer() -> None:
    with socket.socket() as plain:
        transport: Any = Transport(plain)

        tune(transport)

        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == connector.DEAD_AFTER * 1000
        assert 0 < transport.keepalive < connector.DEAD_AFTER


def test_a_connection_through_a_jump_host_is_only_kept_alive() -> None:
    transport: Any = Transport(object())

    tune(transport)

    assert transport.keepalive


def test_a_machine_is_named_as_itself_and_its_host_key_must_be_known() -> None:
    [(name, data, groups)] = MachineConnector.make_names_data("master-1")

    assert name == "master-1"
    assert data["ssh_strict_host_key_checking"] == "yes"
    assert groups == []


def test_the_inventory_s_data_and_groups_reach_the_machine() -> None:
    host = ("@machine/m1", {"ssh_hostname": "10.9.0.11", "machine": "the record"})

    inventory = Inventory(([host], {}), masters=([host], {"colour": "red"}))

    m1 = inventory.get_host("m1")
    assert m1.connector_cls is MachineConnector
    assert m1.data.ssh_hostname == "10.9.0.11"
    assert m1.data.machine == "the record"
    assert m1.data.colour == "red"
    assert m1.data.ssh_strict_host_key_checking == "yes"


def test_disconnecting_closes_the_connection() -> None:
    state = State(Inventory((["@machine/m1"], {})), Config())
    host = state.inventory.get_host("m1")
    connection: Any = host.connector
    closed: list[bool] = []
    connection.client = SimpleNamespace(close=lambda: closed.append(True))

    host.disconnect()

    assert closed == [True]
    assert connection.client is None


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A connection whose other end says what ``says`` is, or raises it."""
    state = State(Inventory((["@machine/m1"], {})), Config())
    found: Any = state.inventory.get_host("m1").connector

    def run(*_: Any, **__: Any) -> tuple[bool, CommandOutput]:
        if isinstance(found.says, Exception):
            raise found.says
        return False, CommandOutput([OutputLine("stderr", line) for line in found.says])

    monkeypatch.setattr(SSHConnector, "run_shell_command", run)
    monkeypatch.setattr(SSHConnector, "put_file", lambda *_, **__: True)
    monkeypatch.setattr(SSHConnector, "get_file", lambda *_, **__: True)
    return found


def test_commands_and_files_are_counted_for_each_machine(connected: Any) -> None:
    connected.says = ("one", "two")

    connected.run_shell_command(StringCommand("mv", "a", "b"))
    assert connected.last == ("mv a b", ("one", "two"))
    connected.put_file("/here", "/there")
    connected.get_file("/there", "/here")

    assert connected.trips == 3
    assert connected.last == ("download of /there", ())
    assert MachineConnector.trips == 0


def test_a_connection_that_breaks_is_what_the_command_said_last(connected: Any) -> None:
    connected.says = OSError("no route")

    with pytest.raises(OSError, match="no route"):
        connected.run_shell_command(StringCommand("true"))

    assert connected.last == ("true", ("OSError: no route",))
    assert connected.trips == 1


def test_the_last_command_is_kept_without_its_secrets(connected: Any) -> None:
    connected.says = ()

    connected.run_shell_command(StringCommand("login", HiddenValue("password")))

    assert "password" not in connected.last[0]


def test_the_helper_for_sudo_s_password_is_removed_while_the_connection_is_open() -> None:
    state = State(Inventory((["@machine/m1"], {})), Config())
    host = state.inventory.get_host("m1")
    host.connector_data["sudo_askpass_path"] = "/tmp/askpass"
    connection: Any = host.connector
    order: list[str] = []
    connection.client = SimpleNamespace(close=lambda: order.append("closed"))
    connection.run_shell_command = lambda command, **_: order.append(str(command))

    host.disconnect()

    assert order == ["rm -f /tmp/askpass", "closed"]


def test_the_running_machines_of_a_topology_are_found_with_groups_and_addresses(
    topology: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch, "m1", "m3", "w1", "stranger")

    found = list(LibvirtConnector.make_names_data(topology))

    assert [name for name, _, _ in found] == ["m1", "m3", "w1"]
    assert found[0][1]["ssh_hostname"] == "10.9.0.11"
    assert found[0][1]["machine"].name == "m1"
    assert found[0][2] == ["masters", "etcd", "@libvirt"]
    assert found[2][2] == ["workers", "@libvirt"]


def test_one_machine_can_be_asked_for(topology: str, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, "m1", "w1")

    assert [name for name, _, _ in LibvirtConnector.make_names_data(f"{topology}/w1")] == ["w1"]


@pytest.mark.parametrize("name", ["some", "some/w1"])
def test_machines_that_do_not_run_are_told_with_the_remedy(
    topology: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    running(monkeypatch)

    with pytest.raises(InventoryError, match="kybern machines up some"):
        list(LibvirtConnector.make_names_data(name))


@pytest.mark.parametrize("name", [None, "", "nowhere"])
def test_a_topology_has_to_be_named_and_there(topology: str, name: str) -> None:
    with pytest.raises(InventoryError):
        list(LibvirtConnector.make_names_data(name))


def test_an_unreachable_libvirt_is_told_with_its_address() -> None:
    pytest.importorskip("libvirt")

    with pytest.raises(InventoryError, match=r"cannot ask test:///nowhere\.xml for machines"):
        discover("test:///nowhere.xml", "some")


def test_running_machines_are_known_by_their_metadata(tmp_path: Path) -> None:
    pytest.importorskip("libvirt")
    ours = (
        '<metadata><kybern:machine xmlns:kybern="urn:kybern:machine:1" cluster="some" name="m1" address="10.9.0.11" '
        'roles="etcd" identity="x" memory="1" cpus="1" disk="1"/></metadata>'
    )
    other = ours.replace('"some"', '"else"').replace('"m1"', '"m9"')
    domain = "<domain type='test'><name>{}</name>{}<memory>8192</memory><os><type>hvm</type></os></domain>"
    texts = domain.format("some-m1", ours) + domain.format("else-m9", other) + domain.format("plain", "")
    (tmp_path / "node.xml").write_text(f"<node>{texts}</node>")

    assert discover(f"test://{tmp_path}/node.xml", "some") == {"m1"}


HYPERVISORS = "driver: qemu\nbridge: br0\nhypervisors: {a: 'qemu+tls://a.example/system', b: 'qemu+tls://b.example/system'}\n"


@pytest.fixture
def two(topology: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The inventory of m1 and w1 on one hypervisor, m2 on another that is silent, and m3 of which nothing is noted."""
    (tmp_path / "inventories/topology/some.yaml").write_text(TOPOLOGY + HYPERVISORS)
    (tmp_path / "state/some").mkdir(parents=True)
    Kept.of("some").note({"m1": "a", "w1": "a", "m2": "b"})

    def given(silent: Any, *greeting: str) -> list[str]:
        def discover(uri: str, _cluster: str) -> frozenset[str]:
            if "b.example" in uri:
                silent()
            return frozenset({"m1", "w1"})

        monkeypatch.setattr(connector, "discover", discover)
        monkeypatch.setattr(connector, "answers", lambda machine, _within: machine.name in greeting)
        return [name for name, _, _ in LibvirtConnector.make_names_data(topology)]

    return given


def refusing() -> None:
    raise InventoryError("cannot ask b for machines")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What pyinfra's log says."""
    monkeypatch.setattr(logger, "propagate", True)
    return caplog


def test_a_silent_hypervisor_is_told_and_the_machines_of_the_others_are_there(
    two: Callable[..., list[str]], told: pytest.LogCaptureFixture
) -> None:
    assert two(refusing) == ["m1", "w1"]
    assert told.messages == ["hypervisor b: cannot ask b for machines; left out: m2, m3"]


def test_machines_that_answer_themselves_are_there_though_their_hypervisor_is_silent(
    two: Callable[..., list[str]], told: pytest.LogCaptureFixture
) -> None:
    assert two(refusing, "m2") == ["m1", "m2", "w1"]
    assert told.messages == ["hypervisor b: cannot ask b for machines; left out: m3"]
    assert two(refusing, "m2", "m3") == ["m1", "m2", "m3", "w1"]
    assert told.messages[1:] == ["hypervisor b: cannot ask b for machines"]


def test_one_that_never_answers_is_left_behind(
    two: Callable[..., list[str]], told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "PATIENCE", 1.0)
    over = threading.Event()
    try:
        # It would wait for ever; the other one is asked at the same time.
        assert two(lambda: over.wait(60)) == ["m1", "w1"]
        assert not over.is_set()
    finally:
        over.set()
    assert "no answer within 1 s; left out: m2, m3" in told.messages[0]


def test_a_machine_of_a_silent_hypervisor_alone_is_an_error(
    two: Callable[..., list[str]], topology: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(refusing)

    with pytest.raises(InventoryError, match="cannot ask b for machines"):
        list(LibvirtConnector.make_names_data(f"{topology}/m2"))


def test_without_libvirt_every_other_connector_works() -> None:
    """All connectors are loaded on every run: one whose import fails would break them all."""
    code = "import sys; sys.modules['libvirt'] = None; from pyinfra.api.connectors import get_all_connectors as all_of; "
    code += "assert {'local', 'machine', 'libvirt'} <= set(all_of())"

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == 0, result.stderr


def test_a_topology_that_lies_elsewhere_is_read_from_its_file(
    topology: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "other.yaml"
    elsewhere.write_text(TOPOLOGY)
    monkeypatch.setattr(connector, "discover", lambda _uri, _cluster: frozenset({"m1", "w1"}))

    assert [name for name, _, _ in LibvirtConnector.make_names_data(str(elsewhere))] == ["m1", "w1"]
    assert inventory_of(str(elsewhere), load(elsewhere)) == f"@libvirt/{elsewhere}"
    assert inventory_of(topology, load(elsewhere)) == "@libvirt/some"
