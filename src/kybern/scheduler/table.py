"""All nodes as vectors: one column a node, one row a fact. Pure data: no I/O, no clock.

A filter or a score is then one numpy operation over all nodes (design decision 8). Columns of removed nodes are used again;
``valid`` says which columns stand for a node. Labels are kept by key as an array of value numbers (0: not there), taints as
one row of booleans for each distinct taint, since a cluster has few of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kybern.api.core_v1 import Namespace, Node, Pod, Taint
from kybern.api.node_selection import integer
from kybern.machinery.struct import Object
from kybern.scheduler import requests
from kybern.scheduler.crowd import Crowd
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.groups import Looks
from kybern.scheduler.objects import Objects, namespace_labels
from kybern.scheduler.room import Numbers, Room

type Mask = NDArray[np.bool_]


@dataclass(slots=True)
class _Image:
    size: int
    columns: set[int] = field(default_factory=set)


class Table:
    """The nodes and what is placed on them. Columns grow by a quarter: every vector costs what it is long.

    ``claims`` are those in use, by namespace/name: how many pods on which column. ``listeners`` by the uid of a pod hear of
    every object that comes, changes or goes; None stands for everything else that may matter to who waits.
    """

    def __init__(self, columns: int = 64) -> None:
        self.columns = columns
        self.names: list[str] = [""] * columns
        self.index: dict[str, int] = {}
        self.room = Room(columns)
        self.valid: Mask = np.zeros(columns, np.bool_)
        self.unschedulable: Mask = np.zeros(columns, np.bool_)
        self.taints: dict[Taint, Mask] = {}
        self.labels: dict[str, NDArray[np.int32]] = {}
        self.values: dict[str, dict[str, int]] = {}
        self.images: dict[str, _Image] = {}
        self.ports: dict[tuple[str, int], dict[int, list[str]]] = {}
        self.claims: dict[str, dict[int, int]] = {}
        self.listeners: dict[str, Callable[[Object | None], None]] = {}
        self.objects = Objects()
        self.crowd = Crowd(columns, partial(namespace_labels, self.objects))
        self._nodes: dict[str, Node] = {}
        self._placed: dict[str, tuple[str, PodFacts]] = {}
        self._free = list(range(columns - 1, -1, -1))

    def __len__(self) -> int:
        return len(self.index)

    def node(self, name: str) -> Node | None:
        return self._nodes.get(name)

    def set_node(self, node: Node) -> None:
        """Add a node, or take in what changed of it."""
        name = node.metadata.name
        column = self.index.get(name)
        if column is None:
            column = self._take(name)
        self._nodes[name] = node
        self.unschedulable[column] = bool(node.spec.unschedulable)
        self.room.set_allocatable(column, requests.amounts(node.status.allocatable))
        self._set_taints(column, node.spec.taints)
        self._set_labels(column, node.metadata.labels)
        self._set_images(column, node)

    def remove_node(self, name: str) -> None:
        """Forget a node. Pods that are still on it are counted again if it comes back."""
        column = self.index.pop(name, None)
        if column is None:
            return
        del self._nodes[name]
        self._tell(None)
        self.names[column] = ""
        self.valid[column] = self.unschedulable[column] = False
        self.room.clear(column)
        self._set_taints(column, ())
        self._set_labels(column, {})
        for image in self.images.values():
            image.columns.discard(column)
        for users in self.ports.values():
            users.pop(column, None)
        for counts in self.claims.values():
            counts.pop(column, None)
        self.crowd.clear(column)
        self._free.append(column)

    def set_object(self, item: Object) -> None:
        """Take in an object beside nodes and pods."""
        self.objects.set(item)
        self._tell(item)
        if isinstance(item, Namespace):
            self.crowd.namespaces_changed()

    def remove_object(self, item: Object) -> None:
        self.objects.remove(item)
        self._tell(item)
        if isinstance(item, Namespace):
            self.crowd.namespaces_changed()

    def restore_object(self, kind: type[Object], name: str, namespace: str = "") -> None:
        """Take back what was assumed of an object."""
        self.objects.restore(kind, name, namespace)
        self._tell(None)

    def place(self, uid: str, node: str, facts: PodFacts) -> None:
        """Count a pod on a node; a pod that is already counted is moved, or counted anew when it changed."""
        self.unplace(uid)
        self._placed[uid] = (node, facts)
        if node in self.index:
            self._count(self.index[node], facts, 1)

    def unplace(self, uid: str) -> None:
        """Take a pod off its node; nothing when it was on none."""
        node, facts = self._placed.pop(uid, ("", None))
        if facts is not None and node in self.index:
            self._count(self.index[node], facts, -1)
        if uid in self.listeners:
            self.listeners[uid](None)

    def _tell(self, item: Object | None) -> None:
        for listener in self.listeners.values():
            listener(item)

    def renew(self, pod: Pod) -> None:
        """Take in what a placed pod looks like now; what it asks for is as before, its labels may have changed."""
        node, before = self._placed.get(pod.metadata.uid, ("", None))
        if before is None:
            return
        facts = replace(before, pod=pod, looks=Looks.of(pod))
        self._placed[pod.metadata.uid] = node, facts
        if facts.looks != before.looks and node in self.index:
            self.crowd.add(self.index[node], facts, 1)
            self.crowd.add(self.index[node], before, -1)

    def placed_on(self, uid: str) -> str:
        """The node that a pod is counted on, "" for none."""
        return self._placed.get(uid, ("", None))[0]

    def counted(self, uid: str) -> PodFacts | None:
        """As what a pod is counted, wherever it is."""
        return self._placed.get(uid, ("", None))[1]

    def placed(self) -> Iterable[tuple[str, Pod]]:
        """Every pod that is counted, with its node."""
        return ((node, facts.pod) for node, facts in self._placed.values())

    def having(self, key: str, values: Iterable[str]) -> Mask:
        """Nodes whose label ``key`` is one of ``values``."""
        known = self.values.get(key, {})
        numbers = [known[value] for value in values if value in known]
        if not numbers:
            return np.zeros(self.columns, np.bool_)
        return np.isin(self.labels[key], numbers)

    def labelled(self, key: str) -> Mask:
        """Nodes that have the label ``key``."""
        found = self.labels.get(key)
        return np.zeros(self.columns, np.bool_) if found is None else found > 0

    def topology(self, key: str) -> tuple[NDArray[np.int32], int]:
        """The number of each node's value of a label (0: it has none), and one more than the highest number."""
        found = self.labels.get(key)
        if found is None:
            return np.zeros(self.columns, np.int32), 1
        return found, len(self.values[key]) + 1

    def by_domain(self, key: str, counts: Numbers) -> Numbers:
        """For each node, the sum over all nodes that have its value of a label; 0 for those without the label."""
        numbers, kinds = self.topology(key)
        sums = np.bincount(numbers, weights=counts, minlength=kinds)
        sums[0] = 0
        found: Numbers = sums.astype(np.int64)[numbers]
        return found

    def integers(self, key: str) -> tuple[NDArray[np.float64], Mask]:
        """The label's values as numbers, and where they are some: for Gt and Lt."""
        numbers = np.zeros(self.columns)
        isnumber = np.zeros(self.columns, np.bool_)
        for value, number in self.values.get(key, {}).items():
            found = integer(value)
            if found is not None:
                where = self.labels[key] == number
                numbers[where], isnumber[where] = found, True
        return numbers, isnumber

    def _take(self, name: str) -> int:
        if not self._free:
            self._grow()
        column = self._free.pop()
        self.index[name] = column
        self.names[column] = name
        self.valid[column] = True
        for node, facts in self._placed.values():
            if node == name:
                self._count(column, facts, 1)
        return column

    def _grow(self) -> None:
        more = max(self.columns // 4, 1)

        def wider(row: NDArray[Any]) -> NDArray[Any]:
            return np.pad(row, (0, more))

        self.room.grow(more)
        self.valid, self.unschedulable = wider(self.valid), wider(self.unschedulable)
        self.taints = {taint: wider(row) for taint, row in self.taints.items()}
        self.labels = {key: wider(row) for key, row in self.labels.items()}
        self.names += [""] * more
        self._free = list(range(self.columns + more - 1, self.columns - 1, -1))
        self.columns += more
        self.crowd.grow(self.columns)

    def _set_taints(self, column: int, taints: Iterable[Taint]) -> None:
        wanted = {Taint(key=one.key, value=one.value, effect=one.effect) for one in taints}
        for taint in wanted - self.taints.keys():
            self.taints[taint] = np.zeros(self.columns, np.bool_)
        for taint, row in self.taints.items():
            row[column] = taint in wanted

    def _set_labels(self, column: int, labels: Mapping[str, str]) -> None:
        for key in labels.keys() - self.labels.keys():
            self.labels[key] = np.zeros(self.columns, np.int32)
            self.values[key] = {}
        for key, row in self.labels.items():
            value = labels.get(key)
            known = self.values[key]
            row[column] = 0 if value is None else known.setdefault(value, len(known) + 1)

    def _set_images(self, column: int, node: Node) -> None:
        for image in self.images.values():
            image.columns.discard(column)
        for one in node.status.images:
            for name in one.names:
                image = self.images.setdefault(name, _Image(one.size_bytes or 0))
                image.size = one.size_bytes or 0
                image.columns.add(column)

    def _count(self, column: int, facts: PodFacts, sign: int) -> None:
        self.crowd.add(column, facts, sign)
        self.room.count(column, facts, sign)
        for name in facts.claims:
            counts = self.claims.setdefault(name, {})
            counts[column] = counts.get(column, 0) + sign
            if not counts[column]:
                del counts[column]
            if not counts:
                del self.claims[name]
        for port in facts.ports:
            users = self.ports.setdefault((port.protocol, port.number), {}).setdefault(column, [])
            if sign > 0:
                users.append(port.address)
            elif port.address in users:
                users.remove(port.address)
