"""Make room for a pod that nobody takes: decide who leaves (pure, in ``preemption``), promise the node, see them off."""

import asyncio
from collections.abc import Sequence

from kybern.api.core_v1 import Pod
from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.scheduler.bind import Binder
from kybern.scheduler.cycle import Refused
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo, Plugin
from kybern.scheduler.preemption import Victims, choose, ineligible
from kybern.scheduler.promises import Promises
from kybern.scheduler.table import Table


class Room:
    """Finds who may leave in the table, and has them told by the binder."""

    def __init__(self, binder: Binder, table: Table, promises: Promises) -> None:
        self._binder = binder
        self._table = table
        self._promises = promises

    def make(
        self, facts: PodFacts, found: Refused, plugins: Sequence[Plugin], tasks: asyncio.TaskGroup
    ) -> tuple[str, str]:
        """What to say of a pod that nobody takes, and the node that it is promised ("" for none)."""
        pod, uid = facts.pod, facts.pod.metadata.uid
        promised = self._promises.of(uid)
        there = [one for node, one in self._table.placed() if promised and node == promised]
        why = ineligible(pod, there, self._promises.leaving)
        if why:
            return found.saying(f"preemption: {why}"), promised
        victims = self._victims(pod, found, plugins) if found.helpful else None
        if victims is None:
            self._promises.end(uid)
            return found.message, ""
        for void in self._promises.make(victims.node, facts):
            tasks.create_task(self._binder.unpromise(void))
        self._promises.leaving |= {one.metadata.uid for one in victims.pods}
        tasks.create_task(self._see_off(victims, pod))
        return found.saying(""), victims.node

    def _victims(self, pod: Pod, found: Refused, plugins: Sequence[Plugin]) -> Victims | None:
        budgets = self._table.objects.all(PodDisruptionBudget)
        return choose(pod, frozenset(found.helpful), self._cluster(pod), plugins, budgets)

    def _cluster(self, pod: Pod) -> Cluster:
        """All nodes with their pods, and with those that have a promise there which this pod has to respect."""
        on: dict[str, list[Pod]] = {name: [] for name in self._table.index}
        for name, other in self._table.placed():
            if name in on:
                on[name].append(other)
        for name, facts in self._promises.before(pod):
            if name in on:
                on[name].append(facts.pod)
        nodes = (NodeInfo(node, tuple(pods)) for name, pods in on.items() if (node := self._table.node(name)))
        return Cluster(tuple(nodes), self._table.objects)

    async def _see_off(self, victims: Victims, pod: Pod) -> None:
        for victim in victims.pods:
            if not await self._binder.evict(victim, pod):
                self._promises.leaving.discard(victim.metadata.uid)
