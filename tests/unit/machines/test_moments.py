"""Snapshots of a cluster: which machines stand still, what is undone when one fails, and what a return needs."""

import threading
from dataclasses import dataclass, field, replace

import pytest

from kybern.machines.errors import MachineError
from kybern.machines.moments import Moments, Taken
from kybern.machines.plan import Defined


def machine(name: str, *, active: bool) -> Defined:
    return Defined("c", name, "10.9.0.11", frozenset({"worker"}), "x", (1024, 1, 10240), active)


@dataclass
class Memory:
    """Two machines of a dictionary; what is done to them in order."""

    machines: dict[str, Defined] = field(
        default_factory=lambda: {
            f"c-{name}": machine(name, active=active) for name, active in (("a", True), ("b", False))
        }
    )
    kept: dict[str, list[Taken]] = field(default_factory=lambda: {"c-a": [], "c-b": []})
    done: list[tuple[str, str]] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)
    broken: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _note(self, what: str, name: str) -> None:
        with self.lock:
            self.done.append((what, name))

    def defined(self, cluster: str = "") -> tuple[Defined, ...]:
        return tuple(self.machines.values())

    def start(self, name: str) -> None:
        self.machines[name] = replace(self.machines[name], active=True)
        self._note("start", name)

    def kill(self, name: str) -> None:
        self.machines[name] = replace(self.machines[name], active=False)
        self._note("kill", name)

    def pause(self, name: str) -> None:
        self.paused.add(name)

    def resume(self, name: str) -> None:
        self.paused.discard(name)

    def take(self, name: str, snapshot: str) -> None:
        assert all(one.name in self.paused for one in self.machines.values() if one.active)
        if name == self.broken:
            raise MachineError(f"libvirt refuses: {name}")
        self.kept[name].append(Taken(snapshot, 100, self.machines[name].active))

    def taken(self, name: str) -> tuple[Taken, ...]:
        return tuple(self.kept[name])

    def return_to(self, name: str, snapshot: str) -> None:
        assert not any(one.active for one in self.machines.values()), "no one may hear of what never was"
        self._note("return", name)

    def forget(self, name: str, snapshot: str) -> None:
        self.kept[name] = [one for one in self.kept[name] if one.name != snapshot]


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_all_that_run_stand_still_while_each_is_taken(memory: Memory) -> None:
    assert Moments(memory, "c").take("before") == 2

    assert memory.paused == set()
    assert [one.ran for one in (*memory.kept["c-a"], *memory.kept["c-b"])] == [True, False]


def test_one_that_fails_leaves_none_behind_and_all_run_on(memory: Memory) -> None:
    memory.broken = "c-b"

    with pytest.raises(MachineError, match="c-b"):
        Moments(memory, "c").take("before")

    assert memory.kept == {"c-a": [], "c-b": []}
    assert memory.paused == set()


def test_a_name_is_taken_once(memory: Memory) -> None:
    found = Moments(memory, "c")
    found.take("before")

    with pytest.raises(MachineError, match="there is a snapshot before of a, b"):
        found.take("before")
    with pytest.raises(MachineError, match="is no name for a snapshot"):
        found.take("../x")


def test_back_means_that_all_are_off_first_and_those_that_ran_run_again(memory: Memory) -> None:
    found = Moments(memory, "c")
    found.take("before")
    memory.start("c-b")
    memory.done.clear()

    assert found.return_to("before") == ("a",)

    assert set(memory.done[:2]) == {("kill", "c-a"), ("kill", "c-b")}
    assert memory.done[-1] == ("start", "c-a")


def test_a_machine_without_the_snapshot_keeps_all_as_they_are(memory: Memory) -> None:
    found = Moments(memory, "c")
    found.take("before")
    memory.forget("c-b", "before")

    with pytest.raises(MachineError, match="no snapshot before of b"):
        found.return_to("before")

    assert memory.done == []
    assert found.remove("before") == 1
    with pytest.raises(MachineError, match="has no snapshot before"):
        found.remove("before")


def test_snapshots_are_listed_by_name_and_machine(memory: Memory) -> None:
    found = Moments(memory, "c")
    found.take("before")

    assert {name: set(by) for name, by in found.list().items()} == {"before": {"a", "b"}}
    memory.machines.clear()
    with pytest.raises(MachineError, match="containers"):
        found.list()
