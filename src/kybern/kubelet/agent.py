"""Which pods this node shall run, and one worker for each.

Pods come from the API server (bound to this node), and from files. A pod that the runtime has but nobody wants any more
is stopped, once all sources have spoken. Mirror pods are not run: they are the API server's picture of static ones.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kybern.api.core_v1 import Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Change, Deleted, Modified, Synced, watch
from kybern.kubelet import numbers, preempt, resize, static, swap
from kybern.kubelet.admit import Room, refuse
from kybern.kubelet.labels import is_mirror
from kybern.kubelet.publish import Publisher
from kybern.kubelet.resize import Refusal
from kybern.kubelet.sources import Self, Sources
from kybern.kubelet.static import Told
from kybern.kubelet.status import Verdict
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.worker import Worker
from kybern.machinery.struct import replace as replace_of

log = logging.getLogger(__name__)

_AFTER_FAILURE = 5.0
_MIRROR_AGAIN = 5.0


class Agent:
    """Keeps the workers; ``run`` belongs into the daemon's TaskGroup."""

    def __init__(
        self,
        here: Surroundings,
        client: Verbs | None,
        publisher: Publisher,
        me: Self,
        manifests: Sequence[Told],
    ) -> None:
        self._here = here
        self._client = client
        self._publisher = publisher
        self._me = me
        self._manifests = manifests
        self._tasks: asyncio.TaskGroup | None = None
        self.workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._mirrors: dict[tuple[str, str], Pod] = {}
        self._static: dict[str, Pod] = {}
        self._told_static: dict[int, Mapping[str, Pod]] = {}
        self.sources = Sources(api=client is None, static=not manifests)
        self._synced = asyncio.Event()
        self._mirror_work = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for number in range(len(self._manifests)):
                tasks.create_task(self._follow_static(number))
            if self._client is not None:
                tasks.create_task(self._follow_api(self._client))
                tasks.create_task(self._keep_mirrors(self._client))
            await asyncio.Event().wait()

    def pods(self) -> Iterable[Pod]:
        """All pods that have a worker."""
        return [worker.pod for worker, _task in self.workers.values()]

    def described(self) -> list[Pod]:
        """The same, with what is known of them."""
        return [replace_of(worker.pod, status=worker.status) for worker, _task in self.workers.values()]

    def current(self) -> list[Pod]:
        """Pods that are not over."""
        return [
            w.pod
            for w, _task in self.workers.values()
            if not w.gone and w.status.phase not in ("Succeeded", "Failed")
        ]

    def candidates(self) -> list[Worker]:
        """Pods that run, and could be given up."""
        return [w for w, _task in self.workers.values() if not w.ending and w.actual.alive]

    def present(self) -> list[Pod]:
        """Pods of which something runs, is about to, or has volumes, even if they are to end."""
        return [worker.pod for worker, _task in self.workers.values() if not worker.unmounted.is_set()]

    def end(self, pod: Pod, verdict: Verdict) -> None:
        """End a pod, if it is there still and not over by itself."""
        worker, _task = self.workers.get(pod.metadata.uid, (None, None))
        if worker is not None and not worker.over:
            worker.end(verdict)

    def running(self) -> list[tuple[str, str, str]]:
        """Running containers: uid of the pod, name, id."""
        workers = [worker for worker, _task in self.workers.values()]
        return [
            (worker.pod.metadata.uid, run.name, run.id)
            for worker in workers
            for run in worker.actual.instances
            if run.running
        ]

    async def ended(self, uids: Iterable[str]) -> None:
        """Wait until nothing of these pods is left but what the API server tells."""
        for uid in uids:
            if uid in self.workers:
                await self.workers[uid][0].stopped.wait()

    async def unmounted(self, pod: Pod) -> None:
        """Wait until nothing of a pod runs, and its volumes are away; its cgroup may be there still."""
        worker, _task = self.workers.get(pod.metadata.uid, (None, None))
        if worker is not None:
            await worker.unmounted.wait()

    async def told(self, pod: Pod) -> None:
        """Wait until the API server has heard all that there is to tell of a pod."""
        shown = self._told(pod)
        if shown is not None:
            await self._publisher.flushed(shown.metadata.uid)

    def find(self, namespace: str, name: str) -> Worker | None:
        for worker, _task in self.workers.values():
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == (namespace, name) and not worker.gone:
                return worker
        return None

    # -- sources ---------------------------------------------------------------------------------------------------

    async def _follow_api(self, client: Verbs) -> None:
        async for change in watch(client, Pod, field_selector=f"spec.nodeName={self._here.machine.node}"):
            self.apply(change)

    def apply(self, change: Synced[Pod] | Change[Pod]) -> None:
        """Take in what the API server says."""
        match change:
            case Synced(items):
                for item in items:
                    self._wanted(item)
                self.sources.api = True
            case Added(item) | Modified(item, _):
                self._wanted(item)
            case Deleted(item):
                self._unwanted(item)

    def _wanted(self, pod: Pod) -> None:
        key = (pod.metadata.namespace, pod.metadata.name)
        if is_mirror(pod):
            self._mirrors[key] = pod
            self._mirror_work.set()
            self._wake_static(key)
            return
        known = self.workers.get(pod.metadata.uid)
        if known is not None:
            known[0].update(pod)
            return
        # A pod that was deleted and made again under its name: what was seen of the old one came to an end.
        for worker, _task in list(self.workers.values()):
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == key and not worker.gone:
                worker.remove()
        self.start(pod)

    def _unwanted(self, pod: Pod) -> None:
        if is_mirror(pod):
            key = (pod.metadata.namespace, pod.metadata.name)
            if key in self._mirrors and self._mirrors[key].metadata.uid == pod.metadata.uid:
                del self._mirrors[key]
            self._mirror_work.set()
            return
        known = self.workers.get(pod.metadata.uid)
        if known is not None:
            known[0].remove()

    async def _follow_static(self, number: int) -> None:
        source = self._manifests[number]
        while True:
            try:
                found = await source.look()
            except OSError as problem:
                # A file that goes while it is looked at, or a disk that cannot be read: what runs goes on.
                log.warning("cannot read the static pods: %s", problem)
                found = None
            if found is not None:
                self._told_static[number] = found
                self._take_static(
                    {uid: pod for told in self._told_static.values() for uid, pod in told.items()}
                )
                self.sources.static = len(self._told_static) == len(self._manifests)
            await asyncio.sleep(source.every)

    def _take_static(self, found: Mapping[str, Pod]) -> None:
        for uid in self._static.keys() - found.keys():
            if uid in self.workers:
                self.workers[uid][0].remove()
        fresh = [pod for uid, pod in found.items() if uid not in self._static]
        self._static = dict(found)
        for pod in fresh:
            self.start(pod)
        self._mirror_work.set()

    # -- workers ---------------------------------------------------------------------------------------------------

    def start(self, pod: Pod, *, gone: bool = False, verdict: Verdict | None = None) -> None:
        """Give a pod its worker; one with a verdict shall end."""
        assert self._tasks is not None
        worker = Worker(pod, self._here, self._publisher, self._told, self._refuse_resize)
        worker.gone = gone
        if verdict is not None:
            worker.end(verdict)
        fresh = (
            not worker.ending
            and not gone
            and pod.metadata.deletion_timestamp is None
            and pod.status.phase in ("", "Pending")
        )
        if fresh and not pod.status.container_statuses:
            room = self._room()
            pushed = preempt.victims(pod, room)
            verdict = refuse(pod, room) if not pushed else None
            self._push_off(pushed)
            if verdict is not None:
                self._here.voice.pod(pod, "Warning", verdict.reason, verdict.message)
                numbers.REJECTED.labels(verdict.reason).inc()
                worker.end(Verdict(verdict.reason, f"Pod was rejected: {verdict.message}"))
        before = [task for other, task in self.workers.values() if _same_name(other.pod, pod)]
        if (earlier := self.workers.get(pod.metadata.uid)) is not None:
            earlier[0].followed = True
            numbers.RESTARTED.labels("true" if worker.static else "").inc()
        task = self._tasks.create_task(self._live(worker, before))
        self.workers[pod.metadata.uid] = (worker, task)

    def _push_off(self, pods: Iterable[Pod]) -> None:
        """End pods to make room for one that the system needs."""
        for pod in pods:
            verdict = preempt.VERDICT
            self._here.voice.pod(pod, "Warning", verdict.reason, verdict.message)
            self.workers[pod.metadata.uid][0].end(verdict)

    def _room(self) -> Room:
        """What a pod finds on this node now."""
        others = tuple(w.pod for w, _task in self.workers.values() if not w.ending)
        here = self._here
        devices = frozenset(here.devices.plugins.known)
        return replace(
            here.rules,
            node=self._me.node,
            others=others,
            pressures=here.pressures.conditions,
            devices=devices,
            closing=here.closing.now,
        )

    def _refuse_resize(self, pod: Pod) -> Refusal | None:
        """Why a pod cannot have other resources beside the rest of the node."""
        node = self._me.node
        if node is None:
            return None
        if pod.metadata.uid in self._here.cpus.holders():
            text = 'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"'
            return Refusal("Infeasible", text)
        if pod.metadata.uid in self._here.memory.holders():
            text = 'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"'
            return Refusal("Infeasible", text)
        machine = self._here.machine
        why = swap.keeps(pod, self.workers[pod.metadata.uid][0].pod, machine.swap, v2=machine.cgroup_v2)
        if why:
            return Refusal("Infeasible", why)
        rest = [
            w.pod
            for w, _task in self.workers.values()
            if not w.ending and w.pod.metadata.uid != pod.metadata.uid
        ]
        return resize.refusal(pod, rest, node.status.allocatable)

    def retry_resizes(self) -> None:
        """There may be room now for pods that wait for more resources."""
        for worker, _task in self.workers.values():
            if worker.allotment.progress.waits:
                worker.wake()

    async def _live(self, worker: Worker, before: Iterable[asyncio.Task[None]]) -> None:
        """One worker from its beginning to its end; a static pod waits for the one that it replaces."""
        uid = worker.pod.metadata.uid
        try:
            if worker.static and before:
                await asyncio.wait(before)
            await worker.run()
        except Exception:
            log.exception("the worker of pod %s failed; it is started again", uid)
            await asyncio.sleep(_AFTER_FAILURE)
            if not worker.followed:
                del self.workers[uid]
                self.start(worker.pod, gone=worker.gone, verdict=worker.verdict)
            return
        if not worker.followed:
            del self.workers[uid]
        self.retry_resizes()

    def _told(self, pod: Pod) -> Pod | None:
        """Which object of the API server shows a pod."""
        if pod.metadata.uid not in self._static:
            return pod
        return self._mirrors.get((pod.metadata.namespace, pod.metadata.name))

    def _wake_static(self, key: tuple[str, str]) -> None:
        for worker, _task in self.workers.values():
            if (worker.pod.metadata.namespace, worker.pod.metadata.name) == key:
                worker.wake()

    def wake(self, uid: str) -> None:
        """Something happened to a pod in the runtime."""
        if uid in self.workers:
            self.workers[uid][0].wake()

    def seen(self, uid: str, namespace: str, name: str) -> None:
        """The runtime has a pod: one that nobody wants is stopped and forgotten."""
        if uid in self.workers or not self.sources.all:
            return
        log.info("stopping pod %s/%s (%s): nobody wants it any more", namespace, name, uid)
        numbers.ORPHANED.inc()
        self.start(Pod(metadata=ObjectMeta(name=name, namespace=namespace, uid=uid)), gone=True)
        self.workers[uid][0].stray = True

    def known(self, uid: str) -> bool:
        """Whether something of a pod may not be tidied away."""
        return uid in self.workers or not self.sources.all

    # -- mirrors ---------------------------------------------------------------------------------------------------

    async def _keep_mirrors(self, client: Verbs) -> None:
        """The API server's pictures follow the static pods; one that it did not take is offered again."""
        pause: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._mirror_work.wait()
            self._mirror_work.clear()
            if not self.sources.api or self._me.node is None:
                pause = 1.0
            else:
                pause = None if await self._mirrored(client) else _MIRROR_AGAIN

    async def _mirrored(self, client: Verbs) -> bool:
        """Whether the API server took all that it was told."""
        wanted = {(p.metadata.namespace, p.metadata.name): p for p in self._static.values()}
        well = [
            await static.show(pod, self._mirrors.get(key), self._me.node, client)
            for key, pod in wanted.items()
        ]
        well += [
            await static.hide(mirror, client)
            for key, mirror in list(self._mirrors.items())
            if key not in wanted
        ]
        return all(well)


def _same_name(one: Pod, other: Pod) -> bool:
    return (one.metadata.namespace, one.metadata.name) == (other.metadata.namespace, other.metadata.name)
