"""The real API server without its network: every verb, rule and admission plugin, over the store in memory.

A client of it gives its requests to the same functions as the HTTP server does, and takes the frames of watches from the
same streams. Rights are not asked: every client is an administrator. The clock is the simulation's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any, override
from urllib.parse import parse_qsl, urlsplit

import msgspec

from kybern.admission.chain import chain
from kybern.api.kinds import KINDS
from kybern.apiserver import negotiate, options, problems, verbs
from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.generic import watch
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import CacheLookup
from kybern.apiserver.negotiate import Form
from kybern.apiserver.paths import Asked, Health, Paths
from kybern.apiserver.render import Renderer, plain
from kybern.apiserver.route import Table
from kybern.apiserver.services.addresses import Addresses
from kybern.apiserver.services.guard import ServiceGuard
from kybern.apiserver.services.ports import Ports
from kybern.auth.user import MASTERS, User
from kybern.client.verbs import JSON, PATIENCE, Verbs
from kybern.machinery.kind import Raw
from kybern.storage.caches import Caches
from kybern.storage.memory import MemoryStore
from kybern.storage.store import Stored
from tests.simulation.fights import WRITER, Fights, changes
from tests.simulation.plane.virtual import seconds

ADMIN = User("admin", (MASTERS,))
SERVICES = "10.96.0.0/14"
_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/"
# Signs of life and words about things: nobody's wish, nobody's truth.
_CHATTER = ("/registry/leases/kube-node-lease/", "/registry/events/")


class Store(MemoryStore):
    """Tells every write to the detector of fights, and knows how often something was written that counts."""

    def __init__(self, fights: Fights) -> None:
        super().__init__()
        self.fights = fights
        self.counting = 0
        self.lately: deque[str] = deque(maxlen=20)
        self.writes = 0
        self.writers: set[str] = set()

    @override
    async def put(self, key: str, value: bytes, expected: int, ttl: int = 0) -> Stored:
        old = self._now.get(key)
        stored = await super().put(key, value, expected, ttl)
        self._saw(key, old, value)
        return stored

    @override
    async def delete(self, key: str, expected: int) -> int:
        old = self._now.get(key)
        revision = await super().delete(key, expected)
        self._saw(key, old, None)
        return revision

    def _saw(self, key: str, old: Stored | None, new: bytes | None) -> None:
        self.writes += 1
        self.writers.add(WRITER.get())
        if key.startswith(_CHATTER):
            return
        self.counting += 1
        before = msgspec.json.decode(old.value) if old is not None else None
        after = msgspec.json.decode(new) if new is not None else None
        what = (
            [(".".join(path), new) for path, _, new in changes(before or {}, after or {})]
            if before
            else "new"
        )
        self.lately.append(f"{WRITER.get() or 'outside'} {key}: {str(what)[:300]}")
        self.fights.saw(WRITER.get(), tuple(key.split("/")[2:]), before, after)


class _Sent:
    def __init__(self, body: bytes, content_type: str) -> None:
        self.content_type = content_type
        self._body = body

    async def read(self) -> bytes:
        return self._body


class Server:
    """One API server; see ``serving``."""

    def __init__(self, tasks: asyncio.TaskGroup, fights: Fights) -> None:
        self.store = Store(fights)
        table = Table.of(KINDS)
        caches = Caches(self.store, tasks)
        self.engine = Engine(self.store, caches, table, CacheLookup(self.store, caches, table), clock=seconds)
        self.engine.chain = chain()
        self.local = Local(self.engine)
        self.engine.charge = self._charge
        guard = ServiceGuard(Addresses(self.local, (ip_network(SERVICES),)), Ports(self.store, 30000, 32767))
        self.engine.guards = {("", "services"): (guard,)}
        # What pods of a namespace that a selector chooses use, as the metrics server would say it.
        self.metrics: Callable[[str, str], Raw] = lambda _namespace, _selector: {"items": []}
        self.pages = Paths(table, "127.0.0.1:6443", Health())

    async def _charge(self, quota: Raw) -> None:
        # Whoever made the pod, it is the server that charges.
        token = WRITER.set("")
        try:
            await self.local.update("", "resourcequotas", quota, "status")
        finally:
            WRITER.reset(token)

    def client(self) -> "InProcess":
        return InProcess(self)


@asynccontextmanager
async def serving(fights: Fights) -> AsyncIterator[Server]:
    async with asyncio.TaskGroup() as tasks:
        server = Server(tasks, fights)
        try:
            yield server
        finally:
            for task in server.engine.caches._running.values():
                task.cancel()


class InProcess(Verbs):
    """A client without a network."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def _call(self, method: str, path: str, *, watching: bool = False) -> tuple[Call, str] | None:
        """What is asked of the engine, and the verb; None for a page such as discovery."""
        parts = urlsplit(path)
        engine = self._server.engine
        below = parts.path.startswith(("/api/", "/apis/")) and not parts.path.startswith(_METRICS)
        target = engine.table.target(method, parts.path, watching=watching) if below else None
        if target is None:
            return None
        if target.kind is None:
            raise problems.no_such_resource()
        namespace = target.namespace if target.kind.namespaced else ""
        query = dict(parse_qsl(parts.query))
        call = Call(engine, target.kind, ADMIN, namespace, target.name, target.subresource, query)
        call.agent = WRITER.get() or "user"
        return call, target.verb

    @override
    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        timeout: float = PATIENCE,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        # As over a network, others have their turn before the answer is there.
        await asyncio.sleep(0)
        asked = self._call(method, path)
        if asked is None:
            return await self._page(method, path, accept)
        call, verb = asked
        given = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = _Sent(b"" if body is None else given, content_type)
        answer = await verbs.verb_of(call, verb)(call, sent)
        form = negotiate.negotiate(accept, streams=verb == "list")
        if form is negotiate.PLAIN:
            return plain(answer)
        return Renderer(form, self._server.engine.clock()).body(answer)[0]

    async def _page(self, method: str, path: str, accept: str) -> bytes:
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query))
        if parts.path.startswith(_METRICS):
            namespace = parts.path.removeprefix(_METRICS).split("/")[0]
            return msgspec.json.encode(self._server.metrics(namespace, query["labelSelector"]))
        found = await self._server.pages.answer(Asked(method, parts.path, query, accept))
        if found.code >= 400:
            raise problems.no_such_resource()
        return found.body

    @override
    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        asked = self._call("GET", path, watching=True)
        assert asked is not None
        call, _ = asked
        form: Form = negotiate.negotiate(accept, streams=True)
        stream, frames = await watch.begin(call, form)
        waiting: asyncio.Queue[bytes] = asyncio.Queue()
        for frame in frames:
            waiting.put_nowait(frame)
        stream.write = waiting.put_nowait
        stream.flow()
        lasts = watch.seconds(options.list_options(call.kind, {**call.query, "watch": "1"}))
        timer = asyncio.get_running_loop().call_later(lasts, stream.end)
        stream.closed.add_done_callback(lambda _closed: waiting.put_nowait(b""))
        try:
            yield _frames(waiting)
        finally:
            timer.cancel()
            stream.end()


async def _frames(waiting: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while frame := await waiting.get():
        yield frame
