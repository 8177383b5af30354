"""The steps of an upgrade, done: each begins when the others are well and ends when its machines are; or they go back."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import Node
from kybern.cli.deploys import StepFailed, only, run_deploy
from kybern.cli.drain import cordon, emptied, uncordon
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError
from kybern.machines.errors import MachineError
from kybern.machines.leaving import to_move
from kybern.machines.skew import API, OLDER
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine
from kybern.machines.upgrading import (
    NOTHING,
    Looked,
    Step,
    api,
    asking,
    found,
    goes_back,
    hindrances,
    takes_pods_beside,
    unwell,
)
from kybern.reach.machines import Machines

ANSWER = 30.0  # seconds a machine may take to say how it is
LISTS = 180.0  # and when apt reads its lists anew
BEGIN = 120.0  # for the others to be well before a step
WELL = 180.0  # for a machine to be well after it
AGAIN = 2.0  # between two looks


class AsBefore(MachineError):
    """A step did not come, and its machines are well: as they were, or back on the release before."""


@dataclass
class Rolling:
    """One run. ``changes`` counts what deploys did; ``seconds`` is how long each step took."""

    topology: str
    cluster: Cluster
    drain_seconds: float
    packages: bool = False
    target: str = ""
    changes: int = 0
    seconds: list[tuple[Step, float]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, name: str, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f}s {name}: {text}", file=sys.stderr, flush=True)

    def look(self, *, packages: bool = False) -> Looked:
        """Ask all machines and the API at once. What does not answer is part of the answer."""
        return asyncio.run(self._look(packages))

    def run(self, step: Step) -> None:
        """Raises MachineError when it did not come well; its machines are as they were before then, if that can be."""
        began, names = time.monotonic(), [machine.name for machine in step.machines]
        before = self._others_well(step)
        drained = names if step.verb == "cluster" and self._drains(before, names) else []
        try:
            if drained:
                self._drain(drained)
            self._deploy(step, before)
        except AsBefore:
            self._take_pods(names)
            raise
        # A node that is not well takes no pods. The next run finds by its mark that it has been cordoned here.
        self._take_pods(names)
        self.seconds.append((step, time.monotonic() - began))

    def back(self, machines: Iterable[Machine]) -> None:
        """Put machines back to the release before, and see that they are well. Raises MachineError."""
        chosen = tuple(machines)
        self.changes += run_deploy(
            self.topology, self.cluster, only(each.name for each in chosen), "rollback"
        )
        if wrong := self._until_well(chosen, NOTHING):
            raise MachineError(
                f"{_names(chosen)} is back on the release before, and not well: {'; '.join(wrong)}"
            )

    def _others_well(self, step: Step) -> Looked:
        out = frozenset(machine.name for machine in step.machines)
        looked, wrong = self._until(lambda looked: hindrances(self.cluster, looked, out), BEGIN, step.names)
        if wrong:
            raise MachineError(
                f"stopped before {step.names}, which is as it was: {'; '.join(wrong)}; mend that, and run the same "
                "command again"
            )
        return looked

    def _drains(self, looked: Looked, names: list[str]) -> bool:
        nodes = looked.nodes or {}
        if not any(name in nodes for name in names):
            return False
        if takes_pods_beside(nodes, names):
            return True
        self.say(", ".join(names), "no other node takes pods: its own stay, and run on")
        return False

    def _drain(self, names: list[str]) -> None:
        async def every(client: Client) -> list[str]:
            for name in names:
                await cordon(client, name)
            return await asyncio.gather(*(self._emptied(client, name) for name in names))

        whys = self._ask(every)
        if held := [f"{name}: {why}" for name, why in zip(names, whys, strict=True) if why]:
            raise AsBefore(
                f"stopped before {', '.join(names)}, which is as it was and takes pods again: cannot empty "
                f"{'; '.join(held)}; run more of these pods, change the budget, or give --drain-seconds more"
            )

    async def _emptied(self, client: Client, name: str) -> str:
        told = ""

        def say(text: str) -> None:
            nonlocal told
            if text != told:
                told = text
                self.say(name, text)

        return await emptied(client, name, self.drain_seconds, say, to_move)

    def _deploy(self, step: Step, before: Looked) -> None:
        data = ("--data", "packages=latest") if self.packages and step.verb == "cluster" else ()
        self.say(step.names, f"deploys/{step.verb}.py")
        wanted = dict.fromkeys(OLDER if step.verb == "cluster" else (API,), self.target)
        try:
            self.changes += run_deploy(
                self.topology, self.cluster, (*data, *only(each.name for each in step.machines)), step.verb
            )
        except StepFailed as failed:
            self._give_up(step, before, f"{failed}")
            return
        if wrong := self._until_well(step.machines, wanted):
            self._give_up(step, before, "; ".join(wrong))

    def _give_up(self, step: Step, before: Looked, why: str) -> None:
        """Always raises MachineError: what became of the machines, and what to do."""
        now = self.look()
        ways = [each for each in step.machines if goes_back(before.of(each.name), now.of(each.name))]
        rest = tuple(each for each in step.machines if each not in ways)
        ends = "the machines that follow were not touched"
        if not ways:
            raise MachineError(
                f"the upgrade stopped at {step.names}: {why}; it ran no other release before, so it stays as it is; {ends}; "
                "mend it and run the same command again"
            )
        self.say(_names(ways), "does not come well; back to the release before")
        try:
            self.back(ways)
        except MachineError as worse:
            raise MachineError(f"the upgrade stopped at {step.names}: {why}; {worse}; {ends}") from worse
        kept = f"; {_names(rest)} stays as it is" if rest else ""
        raise AsBefore(
            f"the upgrade stopped at {step.names}: {why}; {_names(ways)} is back on {now.of(ways[0].name).before}, "
            f"and well{kept}; {ends}"
        )

    def _until_well(self, machines: Iterable[Machine], wanted: Mapping[str, str]) -> tuple[str, ...]:
        """Twice in a row, with no unit restarted in between: what starts and falls is not well."""
        chosen, restarts = tuple(machines), [-1]

        def wrong(looked: Looked) -> tuple[str, ...]:
            found = (*unwell(self.cluster, looked, chosen, wanted), *hindrances(self.cluster, looked))
            was, restarts[0] = restarts[0], sum(looked.of(each.name).restarts for each in chosen)
            if not found and was != restarts[0]:
                return ("seen well only once",) if was < 0 else ("a unit was restarted since it was started",)
            return tuple(dict.fromkeys(found))

        return self._until(wrong, WELL, _names(chosen))[1]

    def _until(
        self, wrong: Callable[[Looked], tuple[str, ...]], seconds: float, name: str
    ) -> tuple[Looked, tuple[str, ...]]:
        """Looks until nothing is wrong any more; the last look, and what is wrong still."""
        until, told = time.monotonic() + seconds, ""
        while True:
            looked = self.look()
            why = wrong(looked)
            if not why or time.monotonic() > until:
                return looked, why
            if why[0] != told:
                told = why[0]
                self.say(name, f"waiting: {told}")
            time.sleep(AGAIN)  # the next look, and not a guess of when it is over

    def _take_pods(self, names: Iterable[str]) -> None:
        nodes = {each.name for each in self.cluster.machines if each.is_node}

        async def every(client: Client) -> None:
            for name in names:
                if name in nodes:
                    await uncordon(client, name)

        self._ask(every)

    async def _look(self, packages: bool) -> Looked:
        there = Machines(self.cluster)
        scripts = {each.name: asking(self.cluster, each, packages=packages) for each in self.cluster.machines}
        asked = (there.run(name, script, LISTS if packages else ANSWER) for name, script in scripts.items())
        (nodes, leases), texts = await asyncio.gather(self._nodes(), asyncio.gather(*asked))
        return Looked({name: found(text) for name, text in zip(scripts, texts, strict=True)}, nodes, leases)

    async def _nodes(self) -> tuple[dict[str, Node] | None, dict[str, Lease]]:
        try:
            async with self._client() as client:
                nodes, _ = await client.list(Node)
                leases, _ = await client.list(Lease, "kube-node-lease")
        except (OSError, ApiError):
            return None, {}
        return {node.metadata.name: node for node in nodes}, {lease.metadata.name: lease for lease in leases}

    def _ask[T](self, what: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        async def asked() -> T:
            async with self._client() as client:
                return await what(client)

        try:
            return asyncio.run(asked())
        except ApiError as problem:
            raise MachineError(
                f"the API at {api(self.cluster)} says: {problem.message}; run the same command again"
            ) from problem

    def _client(self) -> Client:
        return Client(load(State.of(self.cluster.name).directory / "admin.conf"))


def _names(machines: Iterable[Machine]) -> str:
    return ", ".join(machine.name for machine in machines)
