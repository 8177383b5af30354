"""Make room for a pod that nobody takes: decide who leaves (pure, in ``preemption``), promise the node, see them off."""

import asyncio
from collections.abc import Sequence

from kybern.api.core_v1 import Pod
from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.scheduler.bind import Binder
from kybern.scheduler.cycle import Refused
from kybern.scheduler.framework import Plugin
from kybern.scheduler.preemption import Victims, choose, ineligible
from kybern.scheduler.promises import Promises
from kybern.scheduler.table import PodFacts, Table


class Room:
    """``budgets`` are by namespace and name, as the watch has them."""

    def __init__(self, binder: Binder, table: Table) -> None:
        self.promises = Promises()
        self.budgets: dict[tuple[str, str], PodDisruptionBudget] = {}
        self._binder = binder
        self._table = table
        self._leaving: set[str] = set()

    def gone(self, uid: str) -> None:
        """A pod that is there no more, or is bound: it neither leaves nor is it promised anything."""
        self._leaving.discard(uid)
        self.promises.end(uid)

    def make(
        self, facts: PodFacts, found: Refused, plugins: Sequence[Plugin], tasks: asyncio.TaskGroup
    ) -> tuple[str, str]:
        """What to say of a pod that nobody takes, and the node that it is promised ("" for none)."""
        pod, uid = facts.pod, facts.pod.metadata.uid
        promised = self.promises.of(uid)
        on = self._pods({*found.helpful, promised}, pod)
        why = ineligible(pod, on.get(promised, ()), self._leaving)
        if why:
            return found.saying(f"preemption: {why}"), promised
        nodes = [(node, tuple(on[name])) for name in found.helpful if (node := self._table.node(name))]
        victims = choose(pod, nodes, plugins, self.budgets.values(), found.nodes)
        if victims is None:
            self.promises.end(uid)
            return found.message, ""
        for void in self.promises.make(victims.node, facts):
            tasks.create_task(self._binder.unpromise(void))
        self._leaving |= {one.metadata.uid for one in victims.pods}
        tasks.create_task(self._see_off(victims, pod))
        return found.saying(""), victims.node

    def _pods(self, names: set[str], pod: Pod) -> dict[str, list[Pod]]:
        """The pods of some nodes, with those that have a promise there which this pod has to respect."""
        found: dict[str, list[Pod]] = {name: [] for name in names}
        for node, other in self._table.placed():
            if node in found:
                found[node].append(other)
        for node, facts in self.promises.before(pod):
            if node in found:
                found[node].append(facts.pod)
        return found

    async def _see_off(self, victims: Victims, pod: Pod) -> None:
        for victim in victims.pods:
            if not await self._binder.evict(victim, pod):
                self._leaving.discard(victim.metadata.uid)
