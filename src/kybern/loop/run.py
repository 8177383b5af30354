"""The one control loop: watches in, actions out, for any number of controllers.

    watch ──change──> cache ──wakes──> queue ──key──> observe ──state──> diff ──actions──> act ──┐
                        ^                 ^                                                      │
                        └──own writes─────┴──── failed: later; Again: later; else: rest <────────┘

What holds: one watch per kind however many controllers read it; no key is with two workers of a controller; a round
begins only when all kinds that its controller reads are there, and ends only when its own writes are in the cache; a
failure of one key delays that key only. What goes wrong in a controller itself (a bug) is logged with its traceback and
tried again, since one strange object must not stop the work on all others.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kybern.client.cache import Cache
from kybern.client.discovery import Resource, discover, partial
from kybern.client.events import Recorder
from kybern.client.verbs import Partial, Verbs
from kybern.client.watch import Added, Change, Deleted, Modified, Synced
from kybern.loop import metrics
from kybern.loop.act import Actor, Round
from kybern.loop.controller import Controller, Failure, Key, View, WhenChanged
from kybern.loop.queue import Queue
from kybern.loop.view import Glance, observed
from kybern.machinery.errors import ApiError, Conflict, InternalError, NotFound, ServiceUnavailable, Timeout
from kybern.machinery.struct import Object

log = logging.getLogger(__name__)

type AnyController = Controller[Any]
type Wakes = Callable[[Any, View], Iterable[Key]]

_DISCOVER_EVERY = 30.0
# Nothing that is worth owning, and by far the most there is.
_IGNORED = frozenset({"events", "events.events.k8s.io"})
# Failures of the server and not of the key: asked again soon, but not at once.
_SERVERS_FAULT = (ServiceUnavailable, Timeout, InternalError)


class _Running:
    """One controller at work."""

    def __init__(self, controller: AnyController, client: Verbs, cache: Cache) -> None:
        self.controller = controller
        self.client = client
        self.queue = Queue(controller.name)
        self.recorder = Recorder(client, controller.events_from, clock=lambda: cache.now)
        self._cache = cache
        self._actor = Actor(client, cache, self.recorder)
        self._failures: dict[Key, Failure] = {}

    def kinds(self) -> tuple[type[Object], ...]:
        """Each once, and always in the same order: in this order they are watched."""
        controller = self.controller
        found = (
            *(() if controller.kind is Partial else (controller.kind,)),
            *controller.owns,
            *(kind for kind, _ in controller.watches),
            *(kind for kind, *_ in controller.indexes),
        )
        return tuple(dict.fromkeys(found))

    async def work(self, kinds: Callable[[], Iterable[type[Object]]]) -> None:
        """Take keys for ever."""
        while True:
            key = await self.queue.take()
            try:
                await self._once(key, kinds)
            except ApiError as problem:
                self._failed(key, problem)
            except Exception:
                log.exception("%s: cannot work on %s", self.controller.name, _shown(key))
                self.queue.retry(key)
            finally:
                self.queue.done(key)

    async def _once(self, key: Key, kinds: Callable[[], Iterable[type[Object]]]) -> None:
        before = self._failures.get(key)
        began = asyncio.get_running_loop().time()

        def glance(answers: dict[Any, Any]) -> Glance:
            return Glance(self._cache, before, answers, kinds)

        state = await observed(self.client, self.controller.observe, key, glance)
        done = await self._acted(state, began)
        for seconds in done.again:
            self.queue.add_after(key, seconds)
        if done.failure is not None:
            if not _is_terminating(done.failure.error):
                self._failures[key] = done.failure
            self._failed(key, done.failure.error)
            return
        self.queue.forget(key)
        if self._failures.pop(key, None) is not None:
            # What was said about the failure is to be taken back.
            self.queue.add(key)

    async def _acted(self, state: Any, began: float) -> Round:
        """What came of a state; ``began`` is when its round did, on the event loop's clock."""
        controller = self.controller
        actions = controller.diff(state) if state is not None else ()
        if controller.told is None or state is None:
            return await self._actor.act(actions)
        actions = tuple(actions)
        done = await self._actor.act(actions)
        seconds = asyncio.get_running_loop().time() - began
        for one in controller.told(state, actions, done.failure is None, seconds):
            metrics.note(one.metric, one.labels, one.value)
        return done

    def _failed(self, key: Key, problem: ApiError) -> None:
        if _is_terminating(problem):
            # It will be refused until the namespace is gone, and everything in it with it.
            self.queue.forget(key)
            return
        if isinstance(problem, _SERVERS_FAULT):
            delay = self.queue.retry(key, at_least=1.0, at_most=5.0)
        else:
            delay = self.queue.retry(key)
        level = logging.DEBUG if isinstance(problem, Conflict | NotFound) else logging.INFO
        log.log(
            level, "%s: %s failed, again in %.3f s: %s", self.controller.name, _shown(key), delay, problem
        )


def _is_terminating(problem: ApiError) -> bool:
    causes = problem.details.causes if problem.details is not None else ()
    return any(cause.reason == "NamespaceTerminating" for cause in causes)


def _shown(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


def _owners(of: type[Object]) -> Wakes:
    """Wakes the object of kind ``of`` that controls another one."""
    group = of.api_version.rpartition("/")[0]

    def wakes(item: Any, _view: View) -> Iterable[Key]:
        for owner in item.metadata.owner_references:
            if owner.controller and owner.kind == of.kind and owner.api_version.rpartition("/")[0] == group:
                yield Key(item.metadata.namespace if of.namespaced else "", owner.name)

    return wakes


def _itself(item: Any, _view: View) -> Iterable[Key]:
    yield Key(item.metadata.namespace, item.metadata.name)


class Loop:
    """Runs controllers against one API server. ``account`` gives the client that a controller acts with."""

    def __init__(
        self,
        client: Verbs,
        controllers: Sequence[AnyController],
        account: Callable[[str], Verbs] | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.cache = cache or Cache()
        self._client = client
        self._running = [
            _Running(
                controller,
                account(controller.account) if account else client,
                self.cache,
            )
            for controller in controllers
        ]
        self._routes: defaultdict[type[Object], list[tuple[Queue, Wakes]]] = defaultdict(list)
        self._everywhere: list[tuple[Queue, Wakes]] = []
        self._feeds: dict[type[Object], asyncio.Task[None]] = {}
        self._all: tuple[type[Object], ...] = ()
        self._discovered = asyncio.Event()
        for running in self._running:
            self._wire(running)

    def _wire(self, running: _Running) -> None:
        controller, queue = running.controller, running.queue
        for kind in running.kinds():
            self.cache.add(kind)
        for kind, name, indexer in controller.indexes:
            self.cache.add_index(kind, name, indexer)
        if controller.kind is not Partial:
            self._routes[controller.kind].append((queue, _itself))
        for kind in controller.owns:
            self._routes[kind].append((queue, _owners(controller.kind)))
        for kind, wakes in controller.watches:
            self._routes[kind].append((queue, wakes))
        if controller.everything is not None:
            self._everywhere.append((queue, controller.everything))

    @property
    def idle(self) -> bool:
        """Whether every controller has come to rest."""
        return all(running.queue.idle for running in self._running)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind in self.cache.kinds():
                    self._feed(tasks, kind)
                if self._everywhere:
                    tasks.create_task(self._discover(tasks))
                for running in self._running:
                    tasks.create_task(running.recorder.run())
                    tasks.create_task(self._control(running, tasks))
        finally:
            for running in self._running:
                running.queue.close()

    async def _control(self, running: _Running, tasks: asyncio.TaskGroup) -> None:
        await self.cache.synced(*running.kinds())
        if running.controller.everything is not None:
            await self._discovered.wait()
        log.info("Started controller %s", running.controller.name)
        for _ in range(running.controller.workers):
            tasks.create_task(running.work(lambda: self._all))
        while running.controller.every:
            await asyncio.sleep(running.controller.every)
            for item in self.cache.list(running.controller.kind):
                running.queue.add(Key(item.metadata.namespace, item.metadata.name))  # type: ignore[attr-defined]

    def _feed(self, tasks: asyncio.TaskGroup, kind: type[Object]) -> None:
        def tell(change: Synced[Any] | Change[Any]) -> None:
            self._told(kind, change)

        self.cache.add(kind)
        self._feeds[kind] = tasks.create_task(self.cache.feed(self._client, kind, tell=tell))

    def _told(self, kind: type[Object], change: Synced[Any] | Change[Any]) -> None:
        match change:
            case Synced(items):
                seen = items
            case Modified(item, old):
                seen = (item, old)
            case Added(item) | Deleted(item):
                seen = (item,)
        changed = isinstance(change, Modified)
        glance = Glance(self.cache, None, {}, lambda: self._all)
        for queue, wakes in (*self._routes[kind], *self._everywhere):
            if changed and isinstance(wakes, WhenChanged) and not wakes.is_about(*seen):
                continue
            for item in seen:
                for key in wakes(item, glance):
                    queue.add(key)

    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        """Keep a watch on the metadata of every kind there is."""
        while True:
            try:
                resources, failed = await discover(self._client)
            except ApiError as problem:
                log.warning("cannot discover the kinds there are: %s", problem)
                await asyncio.sleep(1.0)
                continue
            wanted = [self._type(resource) for resource in resources if _collectable(resource)]
            if not failed:
                await self._forget(set(self._all) - set(wanted))
            for kind in wanted:
                if kind not in self._feeds:
                    self._feed(tasks, kind)
            await self._settle(wanted)
            await asyncio.sleep(_DISCOVER_EVERY)

    async def _settle(self, wanted: list[type[Object]]) -> None:
        try:
            async with asyncio.timeout(_DISCOVER_EVERY):
                await self.cache.synced(*(kind for kind in wanted))
        except TimeoutError:
            log.warning("some kinds cannot be watched yet; going on with the others")
        self._all = tuple(kind for kind in wanted if self.cache.has_synced(kind))
        self._discovered.set()

    async def _forget(self, gone: set[type[Object]]) -> None:
        for kind in gone:
            if issubclass(kind, Partial):
                self._feeds.pop(kind).cancel()
                self.cache.remove(kind)

    def _type(self, resource: Resource) -> type[Object]:
        """The type that a controller watches already, or one for the metadata."""
        for kind in self._routes:
            if kind.api_version == resource.api_version and kind.plural == resource.plural:
                return kind
        return partial(resource)


def _collectable(resource: Resource) -> bool:
    return {"list", "watch", "delete"} <= resource.verbs and resource.group_resource not in _IGNORED
