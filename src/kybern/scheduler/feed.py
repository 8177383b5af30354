"""What the API server says, brought into the table and the queue.

A pod is on a node (it counts there), waits for one (it is queued, when it names one of our profiles), or is somebody else's
business. Each change is told to the queue, because it may help a pod that nobody took.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter

from kybern.api.core_v1 import Node, Pod
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.machinery.struct import Object, replace
from kybern.scheduler import requests
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.event_labels import label
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.metrics import EVENTS
from kybern.scheduler.parked import Parked
from kybern.scheduler.promises import Promises
from kybern.scheduler.queue import Profiles, Queue
from kybern.scheduler.table import Table

REMOVED = "removed"  # why a pod that is deleted waits for no permit any more
LIVE = "status.phase!=Succeeded,status.phase!=Failed"


class Feed:
    """``changed`` is set after everything that may give the scheduler something to do."""

    def __init__(
        self,
        client: Verbs,
        queue: Queue,
        profiles: Profiles,
        table: Table,
        promises: Promises,
        parked: Parked,
    ) -> None:
        self.client = client
        self.table = table
        self.queue = queue
        self.profiles = profiles
        self.promises = promises
        self.parked = parked
        self.changed = asyncio.Event()
        self.pods: dict[str, Pod] = {}  # all that are not over, by uid
        asked: list[type[Object]] = [kind for profile in profiles.values() for kind in profile.needs]
        self._needs: tuple[type[Object], ...] = tuple(dict.fromkeys(asked))
        kinds: tuple[type[Object], ...] = (Node, Pod, *self._needs)
        self._lists = {kind.plural: asyncio.Event() for kind in kinds}

    def check(self) -> None:
        """For /readyz: all lists have been seen."""
        for name, seen in self._lists.items():
            if not seen.is_set():
                raise RuntimeError(f"{name} are not listed yet")

    async def listed(self) -> None:
        for seen in self._lists.values():
            await seen.wait()

    def tasks(self) -> tuple[Callable[[], Coroutine[None, None, None]], ...]:
        """What has to run, each for ever."""
        return (self._follow_nodes, self._follow_pods, *(partial(self._follow, kind) for kind in self._needs))

    async def _follow_nodes(self) -> None:
        async for event in watch(self.client, Node):
            match event:
                case Synced(items):
                    for node in items:
                        self.table.set_node(node)
                    self._lists["nodes"].set()
                case Added(node):
                    self.table.set_node(node)
                    self._tell(Happening(Node, Action.ADDED, node))
                case Modified(node, old):
                    if not _matters(node, old):
                        continue
                    self.table.set_node(node)
                    self._tell(Happening(Node, Action.CHANGED, node, old))
                case Deleted(node):
                    self.table.remove_node(node.metadata.name)
                    self._tell(Happening(Node, Action.GONE, old=node))
            self.changed.set()

    async def _follow_pods(self) -> None:
        async for event in watch(self.client, Pod, field_selector=LIVE):
            match event:
                case Synced(items):
                    for pod in items:
                        self.see(pod)
                    self._lists["pods"].set()
                case Added(pod):
                    self.see(pod)
                case Modified(pod, old):
                    self.see(pod, old)
                case Deleted(pod):
                    self.lose(pod)
            self.changed.set()

    async def _follow[T: Object](self, kind: type[T]) -> None:
        async for event in watch(self.client, kind):
            match event:
                case Synced(items):
                    for item in items:
                        self.table.set_object(item)
                    self._lists[kind.plural].set()
                case Added(item):
                    self.table.set_object(item)
                    self._tell(Happening(kind, Action.ADDED, item))
                case Modified(item, old):
                    self.table.set_object(item)
                    self._tell(Happening(kind, Action.CHANGED, item, old))
                case Deleted(item):
                    self.table.remove_object(item)
                    self._tell(Happening(kind, Action.GONE, old=item))
            self.changed.set()

    def see(self, pod: Pod, old: Pod | None = None) -> None:
        """A pod that is there, and what was known of it before."""
        uid = pod.metadata.uid
        if old is not None and old.metadata.uid != uid:
            self.lose(old)
            old = None
        self.pods[uid] = pod
        if pod.spec.node_name:
            self.queue.remove(uid)
            self.promises.end(uid)
            self._placed(pod, old)
        elif pod.metadata.deletion_timestamp or pod.spec.scheduler_name not in self.profiles:
            self.queue.remove(uid)
            self.parked.reject(uid, "", REMOVED)
            self._release(pod)
        elif not self.table.placed_on(uid):
            facts = PodFacts.of(pod)
            if pod.status.nominated_node_name:
                if self.promises.of(uid) != pod.status.nominated_node_name:
                    self._release(pod)
                self.promises.make(pod.status.nominated_node_name, facts)
            elif old is not None and old.status.nominated_node_name == self.promises.of(uid):
                self._release(pod)
            self.queue.set(facts, asyncio.get_running_loop().time())

    def lose(self, pod: Pod) -> None:
        """A pod that is gone or over."""
        uid = pod.metadata.uid
        self.pods.pop(uid, None)
        self.queue.remove(uid)
        promised = self.promises.of(uid)
        self.promises.gone(uid)
        self.parked.reject(uid, "", REMOVED)
        if self.table.placed_on(uid):
            self.table.unplace(uid)
            self._tell(Happening(Pod, Action.GONE, old=pod))
        elif promised:
            self._tell(Happening(Pod, Action.GONE, old=pod))

    def _release(self, pod: Pod) -> None:
        """A pod wants the node no more that it was promised: there is room for those who had to respect that."""
        if self.promises.of(pod.metadata.uid):
            self.promises.end(pod.metadata.uid)
            self._tell(Happening(Pod, Action.GONE, old=pod))

    def _placed(self, pod: Pod, old: Pod | None) -> None:
        if old is not None and old.spec.node_name and not _differ(pod, old):
            self.table.renew(pod)
            return
        if self._asks_as_counted(pod):
            self.table.renew(pod)
        else:
            self.table.place(pod.metadata.uid, pod.spec.node_name, PodFacts.of(pod))
        if old is not None and old.spec.node_name:
            self._tell(Happening(Pod, Action.CHANGED, pod, old))
        else:
            self._tell(Happening(Pod, Action.ADDED, pod))

    def _asks_as_counted(self, pod: Pod) -> bool:
        """Whether the pod is where it counts and asks for the same: nearly always, when the binding is our own."""
        counted = self.table.counted(pod.metadata.uid)
        if counted is None or self.table.placed_on(pod.metadata.uid) != pod.spec.node_name:
            return False
        spec = replace(counted.pod.spec, node_name=pod.spec.node_name)
        return (spec, requests.reported(counted.pod)) == (pod.spec, requests.reported(pod))

    def _tell(self, what: Happening) -> None:
        began = perf_counter()
        self.queue.changed(what, asyncio.get_running_loop().time())
        EVENTS.of(label(what)).observe(perf_counter() - began)


def _matters(node: Node, old: Node) -> bool:
    """Heartbeats change a node every few seconds; only these parts of it are looked at by plugins."""

    def parts(one: Node) -> tuple[object, ...]:
        return (
            one.spec,
            one.metadata.labels,
            one.status.allocatable,
            one.status.images,
            one.status.declared_features,
        )

    return parts(node) != parts(old)


def _differ(pod: Pod, old: Pod) -> bool:
    """Whether a placed pod counts otherwise than before; most changes are a kubelet's reports."""

    def parts(one: Pod) -> tuple[object, ...]:
        meta = one.metadata
        return one.spec, meta.labels, meta.deletion_timestamp is None, requests.reported(one)

    return parts(pod) != parts(old)
