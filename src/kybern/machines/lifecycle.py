"""Bring a cluster's machines up and down: plan, then do, all machines at once.

Safe after an interrupted run: every step is taken from what libvirt has, never from a memory of what was done before.
"""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kybern.machines import driver, state
from kybern.machines.booting import last_words, wait_for_ssh
from kybern.machines.driver import Provider
from kybern.machines.errors import MachineError
from kybern.machines.placing import left_out, placed, refuse_forgotten, refuse_twice
from kybern.machines.plan import (
    Action,
    Define,
    Resize,
    Start,
    Undefine,
    plan,
    refuse_smaller,
    replaced,
    wanted,
)
from kybern.machines.state import State
from kybern.machines.topology import Cluster

BOOT = 120.0


type Report = Callable[[str, str], None]
"""Called with a machine's name and what is happening to it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run over the machines of one cluster."""

    provider: Provider
    cluster: Cluster
    state: State
    report: Report
    silent: frozenset[str] = frozenset()
    """Hypervisors that do not answer: the machines that may be there are left as they are."""

    def up(self, *, replace: bool = False, patience: float = BOOT) -> int:
        """Machines as wanted, running and answering by SSH. Returns how many changes that took."""
        noted = self.state.where()
        refuse_forgotten(self.cluster, noted)
        there = self.provider.defined(self.cluster.name)
        refuse_twice(there)
        left = left_out(self.cluster, there, self.silent)
        cluster = placed(self.cluster, there)
        targets = tuple(each for each in wanted(cluster) if each.machine.name not in left)
        there = tuple(each for each in there if each.machine not in left)
        refuse_smaller(targets, there)
        actions = plan(targets, there)
        if (lost := replaced(actions)) and not replace:
            raise MachineError(
                f"{', '.join(lost)} would be removed with all data, because the topology no longer has it like that; "
                "say --replace if that is meant"
            )
        state.prepare(self.cluster, self.state)
        if cluster.hypervisors:
            found = {each.machine.name: each.machine.hypervisor for each in targets}
            self.state.note({name: noted[name] for name in left if name in noted} | found)
        # Machines that go may hold addresses, or the bridge, that those which come need.
        self._each({each.defined.machine: [each] for each in actions if isinstance(each, Undefine)})
        self.provider.ensure_network(cluster)
        names = {each.name: each.machine.name for each in targets}
        steps: dict[str, list[Action]] = {
            machine.name: [] for machine in self.cluster.machines if machine.name not in left
        }
        for action in actions:
            if not isinstance(action, Undefine):
                steps[names[_subject(action)]].append(action)
        self._each(steps, lambda name: self._wait(name, patience, steps[name]))
        if left:
            raise MachineError(
                f"{', '.join(sorted(left))}: left as they are, because {', '.join(sorted(self.silent))} does not answer; "
                f"the others run, {len(actions)} changes"
            )
        return len(actions)

    def down(self) -> int:
        """Nothing left of the cluster's machines, its network and its storage. Returns how many machines went."""
        defined = self.provider.defined(self.cluster.name)
        self._each({each.machine: [Undefine(each)] for each in defined})
        self.provider.remove_rest(self.cluster.name)
        shutil.rmtree(driver.STORE / self.cluster.name, ignore_errors=True)
        return len(defined)

    def _do(self, action: Action) -> None:
        match action:
            case Define(wanted=target):
                self.report(target.machine.name, "is made")
                machine_id = target.uuid.hex
                files = state.settings(self.cluster, target.machine, machine_id, self.state)
                self.provider.define(target, files)
            case Start(name=name):
                self.provider.start(name)
            case Resize(wanted=target, restart=restart):
                self.report(target.machine.name, "is resized")
                if restart:
                    state.hang_up(self.state, target.machine.name)
                    self.provider.stop(target.name)
                self.provider.redefine(target)
                if restart:
                    self.provider.start(target.name)
            case Undefine(defined=defined):
                self.report(defined.machine, "is removed")
                state.hang_up(self.state, defined.machine)
                self.provider.undefine(defined.name)

    def _wait(self, name: str, patience: float, done: list[Action]) -> None:
        machine = next(each for each in self.cluster.machines if each.name == name)
        started = next((each.name for each in done if isinstance(each, Start)), "")
        if done:
            self.report(name, "boots")
        if started:
            wait_for_ssh(
                machine,
                patience,
                lambda: self.provider.said(started),
                lambda: self._start_again(name, started),
            )
        else:
            wait_for_ssh(machine, patience)
        self.report(name, f"answers at {machine.address}")

    def _start_again(self, machine: str, name: str) -> None:
        words = last_words(self.provider.said(name) or b"")
        self.report(machine, f"is silent, and started again; its console said last: {words or 'nothing'}")
        self.provider.kill(name)
        self.provider.start(name)

    def _each(self, steps: Mapping[str, list[Action]], after: Callable[[str], None] | None = None) -> None:
        """The steps of all machines at once. Lets all end, then raises the first error that came."""

        def work(name: str) -> None:
            for step in steps[name]:
                self._do(step)
            if after:
                after(name)

        if not steps:
            return
        with ThreadPoolExecutor(len(steps)) as pool:
            futures = {name: pool.submit(work, name) for name in steps}
        errors = {name: error for name, future in futures.items() if (error := future.exception())}
        for name, error in errors.items():
            self.report(name, f"failed: {error}")
        for error in errors.values():
            raise error


def _subject(action: Define | Start | Resize) -> str:
    match action:
        case Define(wanted=target) | Resize(wanted=target):
            return target.name
        case Start(name=name):
            return name
