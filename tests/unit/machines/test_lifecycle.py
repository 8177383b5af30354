"""A hypervisor of a dictionary, and what a run does to it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kybern.machines import booting, driver
from kybern.machines.errors import MachineError
from kybern.machines.lifecycle import Run
from kybern.machines.plan import Defined, Wanted
from kybern.machines.state import File, State
from kybern.machines.topology import Cluster


@dataclass
class Memory:
    """What libvirt would keep."""

    machines: dict[str, Defined] = field(default_factory=dict)
    networks: set[str] = field(default_factory=set)
    broken: str = ""
    consoles: dict[str, bytes] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)

    def defined(self, cluster: str = "") -> tuple[Defined, ...]:
        return tuple(self.machines.values())

    def ensure_network(self, cluster: Cluster) -> None:
        self.networks.add(cluster.name)

    def remove_rest(self, cluster: str) -> None:
        self.networks.discard(cluster)

    def define(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        assert wanted.cluster in self.networks
        self.machines[wanted.name] = Defined(
            wanted.cluster, wanted.machine.name, str(wanted.machine.address), wanted.machine.roles, wanted.identity,
            wanted.size, active=False,
        )  # fmt: skip

    def redefine(self, wanted: Wanted) -> None:
        self.machines[wanted.name] = replace(
            self.machines[wanted.name], size=wanted.size, roles=wanted.machine.roles
        )

    def start(self, name: str) -> None:
        if name == self.broken:
            raise MachineError(f"{name} does not start: broken")
        self.starts.append(name)
        self.machines[name] = replace(self.machines[name], active=True)

    def stop(self, name: str) -> None:
        self.machines[name] = replace(self.machines[name], active=False)

    kill = stop

    def undefine(self, name: str) -> None:
        del self.machines[name]

    def console(self, name: str) -> list[str]:
        return ["true", name]

    def said(self, name: str) -> bytes | None:
        return self.consoles.get(name)


@pytest.fixture
def run(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(driver, "STORE", tmp_path / "machines")
    monkeypatch.setattr(booting, "answers", lambda _machine, _timeout: True)
    return Run(Memory(), cluster, State(tmp_path / "state"), lambda _name, _text: None)


def test_up_makes_and_starts_all_and_then_changes_nothing(run: Run) -> None:
    assert run.up() == 4
    assert all(each.active for each in run.provider.defined())
    assert run.up() == 0


def memory(run: Run) -> Memory:
    assert isinstance(run.provider, Memory)
    return run.provider


def test_a_machine_that_fails_does_not_hold_up_the_others_and_a_rerun_repairs_it(run: Run) -> None:
    memory(run).broken = "small-master-1"

    with pytest.raises(MachineError, match="small-master-1 does not start"):
        run.up()
    assert {each.machine: each.active for each in run.provider.defined()} == {
        "master-1": False,
        "worker-1": True,
    }

    memory(run).broken = ""
    assert run.up() == 1
    assert all(each.active for each in run.provider.defined())


def test_a_disk_is_lost_only_when_that_is_said(run: Run) -> None:
    run.up()
    smaller = replace(run, cluster=replace(run.cluster, machines=run.cluster.machines[:1]))

    with pytest.raises(MachineError, match="small-worker-1 would be removed with all data"):
        smaller.up()
    assert len(run.provider.defined()) == 2

    assert smaller.up(replace=True) == 1
    assert [each.machine for each in run.provider.defined()] == ["master-1"]


def test_down_leaves_nothing(run: Run, tmp_path: Path) -> None:
    run.up()
    (tmp_path / "machines" / "small" / "master-1").mkdir(parents=True)

    assert run.down() == 2

    assert not run.provider.defined()
    assert not memory(run).networks
    assert not (tmp_path / "machines" / "small").exists()
    assert run.down() == 0


def test_a_machine_that_falls_silent_on_its_way_up_is_started_once_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was not started by this run is left alone: whatever it does is more than booting."""
    monkeypatch.setattr(booting, "SILENCE", 0.0)
    hung = "small-worker-1"
    memory(run).consoles[hung] = b"Linux version 6.12"
    monkeypatch.setattr(
        booting,
        "answers",
        lambda machine, _within: machine.name != "worker-1" or memory(run).starts.count(hung) > 1,
    )
    told: list[str] = []
    run = replace(run, report=lambda name, text: told.append(f"{name} {text}"))

    run.up(patience=60)

    assert memory(run).starts.count(hung) == 2
    assert "worker-1 is silent, and started again; its console said last: Linux version 6.12" in told

    monkeypatch.setattr(booting, "answers", lambda machine, _within: machine.name != "worker-1")
    with pytest.raises(MachineError, match="worker-1 does not answer"):
        run.up(patience=0.5)
    assert memory(run).starts.count(hung) == 2
