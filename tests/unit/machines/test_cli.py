"""The command line, as far as it needs no hypervisor."""

from pathlib import Path

import pytest

from kybern.cli import machines
from kybern.cli.progress import table
from kybern.machines.errors import MachineError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_name_is_a_file_beside_the_inventories() -> None:
    assert machines.topology_path("ha5") == Path("inventories/topology/ha5.yaml")
    assert machines.topology_path("/somewhere/x.yaml") == Path("/somewhere/x.yaml")


def test_an_unknown_topology_is_told_with_those_that_there_are() -> None:
    with pytest.raises(
        MachineError, match=r'no topology "labb"; give a file, or one of .*: .*ha5, lab, single, test'
    ):
        machines.topology_path("labb")


def test_a_machine_alone_is_one_of_the_lab() -> None:
    cluster, machine = machines.machine_of("master-1", None)
    assert (cluster.name, machine.name) == ("lab", "master-1")

    cluster, machine = machines.machine_of("single", "node-1")
    assert (cluster.name, machine.name) == ("single", "node-1")


def test_an_unknown_machine_is_told_with_those_that_there_are() -> None:
    with pytest.raises(MachineError, match='cluster single has no machine "master-1"; it has node-1'):
        machines.machine_of("single", "master-1")


def test_machines_that_are_not_made_here_cannot_be_made() -> None:
    with pytest.raises(MachineError, match="driver: none"), machines.provider("none", "", print):
        pass


def test_a_hypervisor_on_another_host_is_refused() -> None:
    with (
        pytest.raises(MachineError, match="is on another host"),
        machines.provider("qemu", "qemu+ssh://far.example/system", print),
    ):
        pass


def test_the_driver_of_the_command_line_wins() -> None:
    assert machines.read("lab", None).driver == "lxc"
    assert machines.read("lab", machines.Kind.QEMU).driver == "qemu"


def test_a_table_has_columns_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    table(("NAME", "STATE"), [("a-long-name", "off"), ("b", "running")])

    assert capsys.readouterr().out == "NAME          STATE\na-long-name   off\nb             running\n"
