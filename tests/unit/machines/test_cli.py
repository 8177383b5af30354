"""The command line, as far as it needs no hypervisor."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kybern.cli import cluster, deploys, machines, main, reach, remove, reset
from kybern.cli.progress import table
from kybern.machines import booting
from kybern.machines.errors import MachineError
from kybern.machines.topology import Cluster

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))


def test_a_name_is_a_file_beside_the_inventories() -> None:
    assert machines.topology_path("ha5") == Path("inventories/topology/ha5.yaml")
    assert machines.topology_path("/somewhere/x.yaml") == Path("/somewhere/x.yaml")


def test_an_unknown_topology_is_told_with_those_that_there_are() -> None:
    with pytest.raises(
        MachineError,
        match=r'no topology "labb"; give a file, or one of .*: (.*, )?ha5, lab, (.*, )?single, (.*, )?test',
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


def test_the_only_machine_of_a_role_stays() -> None:
    with pytest.raises(MachineError, match="it is the only master of single"):
        remove.check(machines.read("single", None), "node-1")
    remove.check(machines.read("lab", None), "master-1")


def test_a_master_that_was_removed_before_is_not_asked_to_forget_the_next_one() -> None:
    alive = machines.read("lab", None).machines

    assert remove.asked(alive, "master-2", ["master-1", "master-2"]) == ["master-1"]
    assert remove.asked(alive[1:], "master-2", ["master-1", "master-2", "master-3"]) == ["master-3"]


def greet(listening: socket.socket) -> None:
    with listening.accept()[0] as client:
        client.send(b"SSH-2.0-x\r\n")


def test_only_machines_whose_ssh_speaks_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is open and silent is a machine that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as speaks, socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(reach, "WITHIN", 0.3)
        lab = machines.read("lab", None).machines[:1]
        here = replace(lab[0], address=IPv4Address("127.0.0.1"))
        greeter = Thread(target=greet, args=(speaks,))
        greeter.start()
        monkeypatch.setattr(booting, "SSH", speaks.getsockname()[1])
        assert reach.answering([here]) == (here,)
        greeter.join()
        monkeypatch.setattr(booting, "SSH", silent.getsockname()[1])
        assert reach.answering([here]) == ()
    assert reach.answering([here]) == ()


@pytest.mark.parametrize(
    ("begun", "silent", "says"),
    [
        (True, (), ""),
        (True, ("worker-1",), ""),
        (True, ("master-1",), ""),
        (True, ("master-1", "worker-2"), ""),
        (True, ("master-1", "master-2"), "from master-1, master-2, and the others are no quorum"),
        (False, (), ""),
        (False, ("worker-1",), "cannot begin lab without worker-1"),
    ],
)
def test_who_may_be_left_out_of_a_deploy(
    begun: bool, silent: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KYBERN_STATE", str(tmp_path))
    (tmp_path / "lab").mkdir()
    if begun:
        (tmp_path / "lab/etcd-bootstrapped").touch()
    lab = machines.read("lab", None)
    monkeypatch.setattr(
        cluster, "answering", lambda asked: tuple(each for each in asked if each.name not in silent)
    )

    if says:
        with pytest.raises(MachineError, match=says):
            cluster.silent_ones(lab)
    else:
        assert tuple(each.name for each in cluster.silent_ones(lab)) == silent


def test_a_limit_that_names_nobody_is_an_error_and_not_a_deploy_of_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pyinfra itself warns, runs on no machine, and ends well."""
    says = "    No host matches found for --limit pattern: nobody"
    monkeypatch.setattr(deploys, "command_of", lambda *_: ["sh", "-c", f"echo '{says}'"])

    with pytest.raises(MachineError, match='lab has no machine or group "nobody"'):
        deploys.run_deploy("lab", machines.read("lab", None), deploys.only(["nobody"]))


def test_each_name_of_a_limit_is_a_pattern_of_its_own() -> None:
    assert deploys.only(["a", "b"]) == ("--limit", "a", "--limit", "b")


def test_a_reset_of_machines_that_do_not_answer_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.cli.reset.answering", lambda _machines: ())
    with pytest.raises(MachineError, match="cannot reset lab: none of its machines answers"):
        reset.reset("lab", yes=True)


def test_a_reset_names_those_that_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    locked: list[Cluster] = []

    @contextmanager
    def hold(held: Cluster, *_: Any) -> Iterator[None]:
        locked.append(held)
        yield

    monkeypatch.setattr("kybern.cli.reset.answering", lambda machines: machines[1:])
    monkeypatch.setattr("kybern.cli.reset.holding", hold)
    monkeypatch.setattr("kybern.cli.reset.run_deploy", lambda *words, **named: ran.append((words, named)))
    with pytest.raises(MachineError, match="not reset: master-1 does not answer"):
        reset.reset("lab", yes=True)

    assert [each.name for each in locked[0].masters] == ["master-2", "master-3"]
    assert "master-1" not in ran[0][0][2]
    assert "worker-2" in ran[0][0][2]


@pytest.mark.parametrize(("code", "says"), [(130, "interrupted; run the same command again"), (2, "")])
def test_an_interruption_is_told_with_how_to_go_on(
    code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*, prog_name: str) -> None:
        assert prog_name == "kybern"
        raise SystemExit(code)

    monkeypatch.setattr(main, "app", ends)

    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert says in capsys.readouterr().err
